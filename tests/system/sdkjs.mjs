// The AWS SDK for JavaScript v3 as its users run it: default CRC32 checksums and trailers, lib-storage multipart,
// presigned GET and PUT, every size compared by SHA-256. Usage: node sdkjs.mjs FOLDER (files made by clients.py).
import { createHash } from "node:crypto";
import { createReadStream, readFileSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { join } from "node:path";
import assert from "node:assert/strict";

const require = createRequire(join(process.env.LECTERN_NODE_MODULES, "package.json"));
const s3 = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");

const client = new s3.S3Client({ endpoint: process.env.ENDPOINT, region: "us-east-1", forcePathStyle: true, maxAttempts: 1 });
const Bucket = "videos";
const folder = process.argv[2];
const digest = async (stream) => {
  const hash = createHash("sha256");
  for await (const block of stream) hash.update(block);
  return hash.digest("hex");
};
const send = (name, input) => client.send(new s3[name + "Command"](input));

await send("CreateBucket", { Bucket });

for (const name of readdirSync(folder)) {
  const path = join(folder, name);
  const want = await digest(createReadStream(path));
  // A buffer for small ones; a stream of unknown length through lib-storage for all (chunked trailers, multipart).
  if (statSync(path).size <= 5 * 1024 * 1024) {
    const put = await send("PutObject", { Bucket, Key: "buffer/" + name, Body: readFileSync(path) });
    assert.ok(put.ChecksumCRC32, "the default CRC32 comes back");
    const got = await send("GetObject", { Bucket, Key: "buffer/" + name, ChecksumMode: "ENABLED" });
    assert.equal(await digest(got.Body), want, name);
    const stream = await send("PutObject", { Bucket, Key: "stream/" + name, Body: createReadStream(path), ContentLength: statSync(path).size });
    assert.ok(stream.ETag);
    assert.equal(await digest((await send("GetObject", { Bucket, Key: "stream/" + name })).Body), want, name);
  }
  await new Upload({ client, params: { Bucket, Key: "upload/" + name, Body: Readable.from(createReadStream(path)), ContentType: "video/mp4" } }).done();
  const back = await send("GetObject", { Bucket, Key: "upload/" + name });
  assert.equal(await digest(back.Body), want, "upload/" + name);
  assert.equal(back.ContentType, "video/mp4");
  assert.equal(back.ContentEncoding, undefined, "aws-chunked is not stored");
}

for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"]) {
  try {
    await send("PutObject", { Bucket, Key: "sum/" + ChecksumAlgorithm, Body: "organ", ChecksumAlgorithm });
  } catch (error) {
    // CRC32C and CRC64NVME need an optional package in some versions of the SDK.
    if (!/crc|checksum/i.test(error.message) || !/install|depend|found|available/i.test(error.message)) throw error;
    continue;
  }
  const got = await send("GetObject", { Bucket, Key: "sum/" + ChecksumAlgorithm, ChecksumMode: "ENABLED" });
  assert.equal(await got.Body.transformToString(), "organ");
  assert.ok(got["Checksum" + ChecksumAlgorithm], ChecksumAlgorithm);
}
await assert.rejects(send("PutObject", { Bucket, Key: "bad", Body: "organ", ChecksumCRC32: "AAAAAA==" }), (e) => e.name === "BadDigest");
await assert.rejects(send("GetObject", { Bucket, Key: "bad" }), (e) => e.name === "NoSuchKey");

// Presigned PUT and GET, by a plain fetch as a browser does.
const putUrl = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: "presigned é+.txt" }), { expiresIn: 60 });
assert.equal((await fetch(putUrl, { method: "PUT", body: "signed" })).status, 200);
const getUrl = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: "presigned é+.txt", ResponseContentType: "text/x-organ" }), { expiresIn: 60 });
const answer = await fetch(getUrl);
assert.equal(await answer.text(), "signed");
assert.equal(answer.headers.get("content-type"), "text/x-organ");
assert.equal((await fetch(getUrl, { method: "PUT", body: "x" })).status, 403, "a GET URL is no PUT URL");
assert.equal((await fetch(getUrl.replace("text%2Fx-organ", "text%2Fhtml"))).status, 403, "an altered URL is refused");

// Conditional writes, copy, delete many, attributes.
await assert.rejects(send("PutObject", { Bucket, Key: "sum/SHA256", Body: "x", IfNoneMatch: "*" }), (e) => e.name === "PreconditionFailed");
await send("CopyObject", { Bucket, Key: "copied", CopySource: encodeURIComponent(Bucket + "/presigned é+.txt") });
const attributes = await send("GetObjectAttributes", { Bucket, Key: "copied", ObjectAttributes: ["ETag", "ObjectSize", "StorageClass"] });
assert.equal(attributes.ObjectSize, 6);
const listed = await send("ListObjectsV2", { Bucket });
const removed = await send("DeleteObjects", { Bucket, Delete: { Objects: listed.Contents.map(({ Key }) => ({ Key })) } });
assert.equal(removed.Deleted.length, listed.KeyCount);
assert.equal((await send("ListObjectsV2", { Bucket })).KeyCount, 0);
await send("DeleteBucket", { Bucket });
console.log("sdkjs ok");
