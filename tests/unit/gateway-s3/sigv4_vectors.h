/* Made by sigv4_vectors.py; do not edit. */
/* clang-format off */
#define VECTOR_ACCESS_KEY "AKIAIOSFODNN7EXAMPLE"
#define VECTOR_SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
static const struct {
    const char *name;
    enum s3_error want;
    uint64_t now_s;
    const char *request, *message;
} vectors[] = {
    {"botocore GET /", S3_OK, UINT64_C(1767323045),
     "GET /\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=d3533cc71045ce3abf83553685abc57eb8867d55c8c6ac53ebd346af5d5de364",
     ""},
    {"botocore GET /bucket", S3_OK, UINT64_C(1767323045),
     "GET /bucket\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=e3855f532a4711024ba54533eb5fdb9adf89587a8f7cc0678fa30f7f01740e08",
     ""},
    {"botocore GET /bucket/", S3_OK, UINT64_C(1767323045),
     "GET /bucket/\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=f98dee648a4bbb2a9a124ebbe714eb41ff2821e4eaa909e0ff8dd7166af08173",
     ""},
    {"botocore GET /bucket/key", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=26c5084c6920d8eb7d08e373e698ffbd1294ec9b39254ed0cdf91e68fdfe4917",
     ""},
    {"botocore GET /bucket//", S3_OK, UINT64_C(1767323045),
     "GET /bucket//\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=983237d5e4825e881113fcff537d41bdbc95f7b0dd57e6c9c08695e333894472",
     ""},
    {"botocore GET /bucket//a//b", S3_OK, UINT64_C(1767323045),
     "GET /bucket//a//b\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=4e349e735cd0c2115410132953b0f86e37e876cf28b4ea05feb3c7ecccf2df99",
     ""},
    {"botocore GET /bucket/./a/../b", S3_OK, UINT64_C(1767323045),
     "GET /bucket/./a/../b\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=adfe304d3acf465426a8e24d3ee043720092da3703b1fbb465c69771ea2b9600",
     ""},
    {"botocore GET /bucket/..", S3_OK, UINT64_C(1767323045),
     "GET /bucket/..\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=66ed6f9b8d52f3d1ba1e0a301158260a200a75ff3a9875cf14d1aa9d059692a1",
     ""},
    {"botocore GET /bucket/a%20b", S3_OK, UINT64_C(1767323045),
     "GET /bucket/a%20b\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=e6b3f5692337e4e457007bd058129d9cb1525b6c4b2042fd73036dfb60af050b",
     ""},
    {"botocore GET /bucket/a%2Bb", S3_OK, UINT64_C(1767323045),
     "GET /bucket/a%2Bb\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=5e8b6a6a2ed5d676545c988e1239a0d25f1afa0663d658a1613cdd324cc81de4",
     ""},
    {"botocore GET /bucket/a%25b", S3_OK, UINT64_C(1767323045),
     "GET /bucket/a%25b\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=364f2f9b5f6cf97926e6d59e4cd6af37e1fafd2da91d2f150a6bc12a77afddcf",
     ""},
    {"botocore GET /bucket/a%2525b", S3_OK, UINT64_C(1767323045),
     "GET /bucket/a%2525b\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=3e09635cccc8197cf305692e4af01f9828511388f2886cc165e25e64cdb26503",
     ""},
    {"botocore GET /bucket/a%3Fb%23c", S3_OK, UINT64_C(1767323045),
     "GET /bucket/a%3Fb%23c\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=71d140f36f265772b4808a43dc6151ec891ab3d21c3b6eb9fce6a07b85b5bcdd",
     ""},
    {"botocore GET /bucket/%E2%82%AC", S3_OK, UINT64_C(1767323045),
     "GET /bucket/%E2%82%AC\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=cbca287e17f2eb371aa9005e7bb56ad0570176aff17e688b764bde9287cf4564",
     ""},
    {"botocore GET /bucket/%F0%9F%98%80/x", S3_OK, UINT64_C(1767323045),
     "GET /bucket/%F0%9F%98%80/x\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=27ac48f8e945e88dd7ea0bc9c0f82ac3ff6cb488e4488fca25f99b287649e435",
     ""},
    {"botocore GET /bucket/~a-b_c.d", S3_OK, UINT64_C(1767323045),
     "GET /bucket/~a-b_c.d\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=7015c15a20a9ab30050ac99df0504c1591817815943112c7d6b28f8e42ca77c0",
     ""},
    {"botocore GET /bucket/%21%22%24%26%27%28%29%2A%2C%3A%3B%3C%3D%3E%40%5B%5C%", S3_OK, UINT64_C(1767323045),
     "GET /bucket/%21%22%24%26%27%28%29%2A%2C%3A%3B%3C%3D%3E%40%5B%5C%5D\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dd1725a73fa73489ba6335d80c731962ccdd090dcb0327d0a7b7da8d44e30e8a",
     ""},
    {"botocore GET /bucket/a%0Ab", S3_OK, UINT64_C(1767323045),
     "GET /bucket/a%0Ab\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=771354f33c46f319088524d9bd38c3e30507a8dce65f720eace6fe06a1718bc5",
     ""},
    {"botocore GET /bucket/trailing/", S3_OK, UINT64_C(1767323045),
     "GET /bucket/trailing/\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=c44d3831ebedab42e54bb9c76c92741bd86adc4f3f5a985814bbd2dab1e0443a",
     ""},
    {"botocore GET /bucket/%C3%A9%CC%81", S3_OK, UINT64_C(1767323045),
     "GET /bucket/%C3%A9%CC%81\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=8fe8de9e773986a89adee298c86ee974948bc8b283fde0253cc898f28fe91fc4",
     ""},
    {"botocore GET /bucket/kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", S3_OK, UINT64_C(1767323045),
     "GET /bucket/kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=06a1f416271567ce0f85eae8ea837287ab8382ae679e74a248d735bcf314a388",
     ""},
    {"botocore GET ?acl", S3_OK, UINT64_C(1767323045),
     "GET /bucket?acl\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=5fcd5a70136b7b03f74eac373bdc37adbf3619d4b35fe10abdf04c8d6f3e358f",
     ""},
    {"botocore GET ?acl=", S3_OK, UINT64_C(1767323045),
     "GET /bucket?acl=\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=5fcd5a70136b7b03f74eac373bdc37adbf3619d4b35fe10abdf04c8d6f3e358f",
     ""},
    {"botocore GET ?uploads", S3_OK, UINT64_C(1767323045),
     "GET /bucket?uploads\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=7d80f633ae9685871bcf581b3bf900cf1f532d3b155887a871460eedf3fc1828",
     ""},
    {"botocore GET ?list-type=2&prefix=a%2Fb&delimiter=%2F", S3_OK, UINT64_C(1767323045),
     "GET /bucket?list-type=2&prefix=a%2Fb&delimiter=%2F\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=c41fd4987b87f8e9cb334350d2b397656bf6b7521d70ce5e0dfe6ef14eb01db3",
     ""},
    {"botocore GET ?prefix=&marker=", S3_OK, UINT64_C(1767323045),
     "GET /bucket?prefix=&marker=\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=ae2dac92ab19d08102b003e53b77524803aee6ea96b64aef4ae873471b95d95d",
     ""},
    {"botocore GET ?b=2&a=1", S3_OK, UINT64_C(1767323045),
     "GET /bucket?b=2&a=1\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=a1b216447b124f94dfa7fd35c2e10babc9193c1a3f0593409f8973ffd605a68c",
     ""},
    {"botocore GET ?a=2&a=1", S3_OK, UINT64_C(1767323045),
     "GET /bucket?a=2&a=1\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=b74ce8b7ace1db52d08e52ad84d0d1bd73408cf18da360492eeed4e23a955bd6",
     ""},
    {"botocore GET ?prefix=a%20b%2Bc", S3_OK, UINT64_C(1767323045),
     "GET /bucket?prefix=a%20b%2Bc\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=fb60c21a45467813d28c9043eb8b84bf2b3cc8c082f384f4d6c523c34eb57686",
     ""},
    {"botocore GET ?a-b=1&a=2&a.b=3&A=4", S3_OK, UINT64_C(1767323045),
     "GET /bucket?a-b=1&a=2&a.b=3&A=4\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=9b64d9d40e37858ca011f0ce7f13c98b34842579c7a5461f5490057fcd173a3b",
     ""},
    {"botocore GET ?partNumber=1&uploadId=x%2By%3D%3D", S3_OK, UINT64_C(1767323045),
     "GET /bucket?partNumber=1&uploadId=x%2By%3D%3D\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=cf9560fa7c36e47b251ee2c56eec0bdb19a6f3b7d479bded035f79b22085c1ea",
     ""},
    {"botocore GET ?prefix=%E2%82%AC", S3_OK, UINT64_C(1767323045),
     "GET /bucket?prefix=%E2%82%AC\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=f875cdfa82b11eb49c69ae4da08dbbed06b9f9240bc1a37cf37d9302d9963e71",
     ""},
    {"botocore GET ?response-content-disposition=attachment%3B%20filename%3D%22x%20y.mp4%22", S3_OK, UINT64_C(1767323045),
     "GET /bucket?response-content-disposition=attachment%3B%20filename%3D%22x%20y.mp4%22\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=6842b63e345cde8bb6b3412363389148144302edc3ea666c0b21f4cb2a5c426d",
     ""},
    {"botocore GET ?x=%25", S3_OK, UINT64_C(1767323045),
     "GET /bucket?x=%25\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=1a6458d5fc3c0d4eb59c1231eb040953e4a37541a38e75662cb78a6a2290d676",
     ""},
    {"botocore GET ?q=~-._", S3_OK, UINT64_C(1767323045),
     "GET /bucket?q=~-._\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=2b08344224b80da71f7aee7f3c09129939d59008381fbc2f227f7a69ab020ea2",
     ""},
    {"botocore PUT", S3_OK, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "Content-Type: text/plain\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature=a1a8956ee0b9d115d5926803d3daaaeaf4a78fb95facc0fda8a221f9087f43e7",
     ""},
    {"botocore PUT with metadata", S3_OK, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-meta-a:   two   inner  spaces \n"
     "X-Amz-Meta-B: caf\n"
     "x-amz-meta-empty: \n"
     "Content-MD5: XUFAKrxLKna5cZ2REBfFkg==\n"
     "Cache-Control: max-age=1,  public\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=cache-control;content-md5;host;x-amz-content-sha256;x-amz-date;x-amz-meta-a;x-amz-meta-b;x-amz-meta-empty, Signature=22aa38813d88b2175349313fc1aca4d2e6a58cb1aec3dd9f9d847dc0f543f914",
     ""},
    {"botocore POST", S3_OK, UINT64_C(1767323045),
     "POST /bucket?delete\n"
     "Host: 127.0.0.1:9000\n"
     "Content-Type: application/xml\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e2000f6b1fc1db795626ddaf9c13324157e9f56cb7820b40d7c3253a08ee5b91\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature=bf6d7e675a1aac1b57eebd971c115692e0ca62d9556c86809dd4a3049c98393c",
     ""},
    {"botocore DELETE", S3_OK, UINT64_C(1767323045),
     "DELETE /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=699eb927168e4c5bb540a0003d1281562aeb042a9b54aa78eb7f398e4f2c0911",
     ""},
    {"botocore HEAD", S3_OK, UINT64_C(1767323045),
     "HEAD /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "Range: bytes=0-1\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=4fa13872dc979c848e5ea541b74bd878e42484427001070c8fc66b95e1ad5e6d",
     ""},
    {"botocore virtual host", S3_OK, UINT64_C(1767323045),
     "GET /key\n"
     "Host: bucket.s3.example:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=bda119eaeac026ef58f29089ac627be97444b0bdaefab321782f6db193b7baae",
     ""},
    {"botocore with a colon in the host", S3_OK, UINT64_C(1767323045),
     "GET /key\n"
     "Host: [::1]:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=a70b52f4f7ea558715079152911db41e8f9afe2d564e089697cbaf30a5b03a87",
     ""},
    {"botocore unsigned payload", S3_OK, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=d7cb6b5d47f2451695bebb4b088ab083ca8b9cfb10f20388026d47f7036ec47f",
     ""},
    {"botocore unsigned trailer", S3_OK, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "Content-Encoding: aws-chunked\n"
     "X-Amz-Trailer: x-amz-checksum-crc32\n"
     "X-Amz-Decoded-Content-Length: 5\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-trailer, Signature=842dad009aeb6fcfcc7f3b22c2f42dca06b461a2b2f4667cac28bb0cdf4a6a4b",
     ""},
    {"botocore random 0", S3_OK, UINT64_C(1767323045),
     "GET /b/%23-%29%7DXY%5B0%27%5EX%2C/cZ%3C%22Y%2BZ?p=%3D%25a%3Fb%20~~&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=cf63fcfc98cc49c48efc2741991c10f415dbe3478195ec5b6a86a89bc2fd53cf",
     ""},
    {"botocore random 1", S3_OK, UINT64_C(1767323045),
     "GET /b/%5C%5E%29X%20c%5D9%3D%22-%5B1%5C%3F%5D%7F.0%5E?p=%3F~%20%2Bb%3D%C3b&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=4d13d0610ca3ba42ffcecf2762c93ab1b7a27198e444aa4c1a262b96abc43849",
     ""},
    {"botocore random 2", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%7B/%40%7F%5B%3C%23%3B%5E%3B%27%3F%2B.%C3%2BZ%5C%3F%24?p=%26%2B%C3%26%2F%3Fbb&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=a58048f806293be1891eb96ccd91bd7bc68b9c2e5644a0f60e96b9523323cbae",
     ""},
    {"botocore random 3", S3_OK, UINT64_C(1767323045),
     "DELETE /b/_%21-%40%22c%01Y%5D%5C%23%21%C3%2A%60%40%5E%3BYZ?p=%2F%26%C3~ba%C3%C3&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=97f3def65f3ceadbfcaaf5786e0ca42832349f0d97e0d80953712739a5d25980",
     ""},
    {"botocore random 4", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%7D%5C%7F%3E%3D%A9%28%01%2Ab%3B%2A_%7B1%40X/%3D9?p=%C3%20%25%25%26bc%26&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=785283c2bbc13a497aab0f538258f2386da997b81abcde4b92afb14b329823da",
     ""},
    {"botocore random 5", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%5D%269%3C%5D%26%A9%22%2A%7F%28%20-Z.-%20%01%20a?p=%26%3Fc%2F%2Fac%25&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=19acdfa065e4521c9339eb26f8120f866bc34bb6d1651dbcdcecfc4efdbed115",
     ""},
    {"botocore random 6", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%7B%5C%239%C3%2C%7B%7D%7FX%3B%7F%5D%29%29%29%290%3A%7C?p=%25a%20b%20%26cb&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=884ab729978187eb00bdb06febc98b7790032684e44df4a966aa757c6e01b10a",
     ""},
    {"botocore random 7", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%60X0a%5C-%5B0%27%7BbY/%7B%28-%7C%25%2A%60?p=%2B%26bb%26%26%26%26&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=31336ca5458b3376f005e1ca2699f8a4550e02b0ef668bbf2e2ed52e162c7eb5",
     ""},
    {"botocore random 8", S3_OK, UINT64_C(1767323045),
     "PUT /b/Z-0%21%25%3A%C3_%24b/%24%27-%C3%5Bb%24%3F%7D?p=b%C3%2F%3D%2Bc%2B%A9&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=71fbc51d10bb1ebc1c01688447bb6ddb16acea54e1e8b385b0ab60600699ab74",
     ""},
    {"botocore random 9", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%5B%5B%2C%21%7C%20%7B~%2B%29%20~%24%40%2Abb%26%3A%25?p=%20%C3%3F%2B%26%A9%C3%2B&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=4a348e4da0571570f129ddf4fa46b0e64e51b867507bca1d7d722e2815c25e9d",
     ""},
    {"botocore random 10", S3_OK, UINT64_C(1767323045),
     "DELETE /b/Z%200%20%3A~%21/%3A%7B%7Ba%3A%7D%2A%7DZ%011%28?p=%A9%C3%A9%20%26c%25%A9&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=f74f98e3e813c47ee5ad683d03e05dfbe90d68b993ce89ce7b4799529a1770de",
     ""},
    {"botocore random 11", S3_OK, UINT64_C(1767323045),
     "GET /b/Z%29%3B%29Z__9b-%5E%3B%7D-%7B%60%3A%01%2A-?p=%3D%3Dcaa%A9%C3~&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=a0b81e3d31a08ac7ee8402e77f373bd314c6dc7ed69f67adf3069bc03f4dc750",
     ""},
    {"botocore random 12", S3_OK, UINT64_C(1767323045),
     "GET /b/%249%3C~/b%25/%3D%2C%2B%5E%23%25%5B%229X%2A%3B?p=~%3F%3D%25%3Dc%3Dc&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=3b2a1d94bbeb76e0c3f25e79605486ecf4286cb8434ff9075c49d47a3d56f6de",
     ""},
    {"botocore random 13", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%3E.%60a-.-%3A%7B1%5DX%23%7F%24%24%5D%3A0%5D?p=a%20%20%2Fa%A9b%3D&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=ad7ce98166df40ca5effef2dd6f0439c362917ab3171e64c6f1a71b908b34e27",
     ""},
    {"botocore random 14", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%5DbY%3E%23%7B%2C%60%2C~%C3%26%3E%2C%5B%3A%2C%2B%C3%24?p=%2F%3D%20%26c%25b%25&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=ec2a1cd5b3dd3042d3abc95d4c9ca3f65bdb065405b0449221d39f5fa201d57f",
     ""},
    {"botocore random 15", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%23Y%01%2B%3CY/%01%3F1-%A9%7D%01%27-%259%3B%20?p=%C3b%25%26c~%20c&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=71e48333aa8399311f58fba49eea14404a93025a3665b0adb09b0a33ae15d1cf",
     ""},
    {"botocore random 16", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%2C%29%21%22~%2A%23Z%27b%21%5D%3B%3E%A9b%28%21%24%7B?p=%2F%3Dbb%A9%20bb&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=cb2b1826bece5bac246c8dea1c95fc7ec4a3ed3cd888625a233ba41762bdffa6",
     ""},
    {"botocore random 17", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%26c.%269%3C%7F%25%29-%5B%2C%5C%40%C3%23Z%26X%C3?p=c%25b%2Fa~b%A9&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=d6ed58479d31dc714c11ffee2adde19a91e342cba9c7beed92677f2240ca4923",
     ""},
    {"botocore random 18", S3_OK, UINT64_C(1767323045),
     "PUT /b/Z%60%20Y%251%3Ba%21%5D%22%26%7B9c%24%A9%2B1_?p=%2Fac%20%2F~%2F%3D&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=c39efe02a97b003285e6829261a3bf8954c8c28e4cbc30675fad3f0da5bd0a5d",
     ""},
    {"botocore random 19", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%3D%3E%2C%7F.%26%2Ab%25cab%2C%5D~%2C%3A%2B%3E0?p=~~%25~%26%3D%25%3D&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=ce8925d7f4aea75bf9d17d7aa2d9908d6e6dddc95641d942d62d9faac32fbe60",
     ""},
    {"botocore random 20", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%C3/%20%21~%A9%7C9%29%2AX9aY%7C%25%3C_XZ?p=~%25%3D~%2F%3F%20%C3&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=8a8f8e7702ad53732db7a53b69bffd279a98565bb95cedccf0aa7474d4af4170",
     ""},
    {"botocore random 21", S3_OK, UINT64_C(1767323045),
     "GET /b/c%3B._%26%3Ea%25%27%21%5D%23%2Bc%3F/%2A.a%21?p=%25b%26%2F%3D~%20%20&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=942d66d837f1b9c53c828434ab8599a1cfe1be6c8ba4e1d84a8ff2ce104cc552",
     ""},
    {"botocore random 22", S3_OK, UINT64_C(1767323045),
     "PUT /b/Z%25Z-%29%5Ec%29b%3F%3F%7C%20Z%5E%24-%01%A9%60?p=%25%A9%2B%C3%26c%2F%C3&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=133d084f7e8cc77b1242b8ad094e1a659001aa34ffcdcb9d91f5356f31801226",
     ""},
    {"botocore random 23", S3_OK, UINT64_C(1767323045),
     "GET /b/c%A9%2C%7C%3C%C3%2C9%24%2C%5Cb%7F%5E%A9%7F%C3%7D%20Z?p=aac~%2Bb%25%26&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=9ea86c2515bdc9677f8b1ed689602343bd13d8484fd492dafbf00d546275ba75",
     ""},
    {"botocore random 24", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%7Cb%7C%5B%7F%2B%40%25a%3BY%2C%5BZ%01%24Y%3A%25Y?p=%2F%20%C3%A9%20%20%C3~&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=ece05dd9cec965c01c2a00da33ddacd47d4c081ea4fa648f8eabcf1f9a4831ef",
     ""},
    {"botocore random 25", S3_OK, UINT64_C(1767323045),
     "GET /b/%40%28Y%3A%7F%3Dc%7B%7C%7D~Y%60-%21%25%7D%C3%3F%7B?p=%3Fca%26a%26%2F~&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=2dcd2f063b144809a567e63859f74d74457a30ae4809bdd476e7ac785e50ca27",
     ""},
    {"botocore random 26", S3_OK, UINT64_C(1767323045),
     "GET /b/%C3/%7F%40%3D%A9%24%3D%3B%3B%3B1%5D~%3FZ%3Ab%3D%3B?p=b%3D%26%2F%25%20%20b&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=a86ac45c77adfa3601ceff9d60cc5ac631bdd364bffd7a202847264ae154d418",
     ""},
    {"botocore random 27", S3_OK, UINT64_C(1767323045),
     "HEAD /b/-%24%25%279%60%7C%2C%261%A9%27%20%40%40%29b_a%40?p=~%26%25%2F%C3c%25%2B&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=ebae75b240d2ba11eb84222c6a6494fb41c7e44dfafbb52b23c5ebb85616564a",
     ""},
    {"botocore random 28", S3_OK, UINT64_C(1767323045),
     "DELETE /b/%231%21a%23%21%291~%A9a%3D%25%27Y%29%28%5EY%27?p=%25%A9%2Fa%2Fba~&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=739ce2acbaadb5bf1a547bbb566a1929b067f5e749b8d86b6e7c4587518fe73b",
     ""},
    {"botocore random 29", S3_OK, UINT64_C(1767323045),
     "PUT /b/%7C-%2B%26%3C%2C%23~%27%3Cb%7C%29%5D%5D/ZX%22%3E?p=%3F%A9c~%2F%26a%3D&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=c0436b392c0652c344e1fc74827502cfa1b0078db06c3be99c69b3fc49df4853",
     ""},
    {"botocore random 30", S3_OK, UINT64_C(1767323045),
     "HEAD /b/_%3A%22%21%3D%3F%25%7D%25%29%7D%2B%3F%3A%5D%01%291_%7D?p=cb%20%3D%A9%26%3D%20&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=6fb689f7d0b75abefb40364827e57c5153a75e7064e0592dc4bd97891bb4d7c2",
     ""},
    {"botocore random 31", S3_OK, UINT64_C(1767323045),
     "GET /b/%21%3E%3C9%5D~%2BZ.%21%5DZ%23%2B%27%25%5C~b%22?p=%25%25%C3%3D%20%25%2F%2B&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=35dbc3888a2291f6114ca5f18f0dc2c768c47056d7b62d9e450e66d723c981cf",
     ""},
    {"botocore random 32", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%40%26%5C%279%7F%2C%24%7C/Z%26%2B%28%29%7D%3E%3C%3Fb?p=ca%25%C3%A9%A9%26%3F&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=6954a312525254d1e5b234bb6d85862b78beec7d5d52e82fd4179344752780e0",
     ""},
    {"botocore random 33", S3_OK, UINT64_C(1767323045),
     "DELETE /b/aY%29%24%3B%3E%2B0%20--%24%7F0%C3%7D%3BZ%5Dc?p=a%A9c%20%3Fa~%C3&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=05e8694d01897871650bf5dbdf7db25a89ed20550fdb5b92833481d384d82ebb",
     ""},
    {"botocore random 34", S3_OK, UINT64_C(1767323045),
     "PUT /b/9%7C%25%24%7C%3C%C310Y%3F%24%5E~%28%25%20%60aa?p=%3D%2F%26%2F%2B~%20%26&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=09bc34fe77378293c51b53f18c413b7936b03587f9a238d01ede41af9fb5f584",
     ""},
    {"botocore random 35", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%5D%2Bb%22%A9%7D%3FXb~%40%7F%7D%22Z%25%20%01%3C%27?p=%20%26a%C3%2B%C3%25%2B&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=c63d5eccf70c13a5bfd78117526ab4aa3cd932f26bfc69805a0c965d7d2dbd85",
     ""},
    {"botocore random 36", S3_OK, UINT64_C(1767323045),
     "GET /b/~a%3D%2CY/%40~%3F~%20%3B%20%25%3D0%7B%40%7B.?p=%20%26%25~a%3Fc%25&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=63b4d6d6589621e39cf0ce8276ee9f56912ecf1e443308ede766e8c07b9386c0",
     ""},
    {"botocore random 37", S3_OK, UINT64_C(1767323045),
     "DELETE /b//b%60-%22X%A9X.%29%3E%A9%231Z_%21~.%7D?p=%3D%C3%26a%2F~%C3%25&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=4ec027866b4f8594d6c0a216fb986ddf5aa997b47dd98f10f7087a0158d052c6",
     ""},
    {"botocore random 38", S3_OK, UINT64_C(1767323045),
     "HEAD /b/%21%3E_0aZ%26Z%2A%221%5D/%28%2A%3F%3CZX%A9?p=%26%20%2B%3D%26%20%2B%2B&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=36375bc7a148879a89046cbc52dccb967221a082cdfd15adb93be4c5b72368a1",
     ""},
    {"botocore random 39", S3_OK, UINT64_C(1767323045),
     "DELETE /b/b%7C%22%2B%7C%29c%28c%3BYX%25~Y%60%21%27%26%21?p=%3Fa%2F%C3%C3%C3%2B%2F&k\n"
     "Host: 127.0.0.1:9000\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=6ad131e492c917abbb3a8128d055373da68381418210b1bcbb18d888e288e4a9",
     ""},
    {"botocore presigned GET", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"botocore presigned GET odd key", S3_OK, UINT64_C(1767323045),
     "GET /bucket//a%20b/%E2%82%AC/../c?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=d0fb2dd02a3ff4030257ed61b90ce87fcc1ddf9da61b9f232bbc6a051db8107f\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"botocore presigned GET with query", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?response-content-type=video%2Fmp4&versionId=x&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=5437210b46ee42024dd904dce9822f8bb39d3b244ba8576cb2f77f13b124b077\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"botocore presigned PUT", S3_OK, UINT64_C(1767323045),
     "PUT /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=content-type%3Bhost%3Bx-amz-meta-a&X-Amz-Signature=5a58b42f70df666313ad4c45bab258a09665ad014b7f6cccf1091466d8227a0c\n"
     "Host: 127.0.0.1:9000\n"
     "Content-Type: video/mp4\n"
     "x-amz-meta-a: b c",
     ""},
    {"botocore presigned HEAD", S3_OK, UINT64_C(1767323045),
     "HEAD /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=ceb9802ffcebdc54c88b93924422813abb363c97de192ae6fd7955449cfb8b5d\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned, last second", S3_OK, UINT64_C(1767326645),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned, a clock 15 minutes behind", S3_OK, UINT64_C(1767322145),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"header form", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"header form, commas without spaces", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"header form, spaces and order", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256   Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48 ,  Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date",
     ""},
    {"date from Date, ISO", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "Date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256, Signature=f324ecacf5d8983d703a175875389b8bd6c2b708bc51e9c24b93252ea1ef511c",
     ""},
    {"date from Date, HTTP", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "Date: Fri, 02 Jan 2026 03:04:05 GMT\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256, Signature=f324ecacf5d8983d703a175875389b8bd6c2b708bc51e9c24b93252ea1ef511c",
     ""},
    {"x-amz-date wins over Date", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Date: Thu, 01 Jan 1998 00:00:00 GMT\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"15 minutes slow", S3_OK, UINT64_C(1767323945),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"15 minutes fast", S3_OK, UINT64_C(1767322145),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"signed over sha256", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=26c5084c6920d8eb7d08e373e698ffbd1294ec9b39254ed0cdf91e68fdfe4917",
     ""},
    {"no payload hash and no body (curl 7.88)", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=5c6ca01bd6233d06e901202ed5940778453347119d638ab1d00d15f9b586e681\n"
     "Content-Length: 0",
     ""},
    {"signed over upper-case sha256", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=68b91420f0345f6aa87218017b486146f3a9285d00f59c930bf0c6ec14e8e9e9",
     ""},
    {"streaming signed", S3_OK, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=4f130c958e32542fd69440055b11ee035056bd0eb50cbcc968de7c051b91190f",
     ""},
    {"streaming signed with trailer", S3_OK, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=2d55f5ddc3b9568126ea3afe9303671285e18cde02f7cc39cc638b6fce572d47",
     ""},
    {"streaming unsigned with trailer", S3_OK, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=9597e800b19e022be70a716f924c0d8a0532e6575b05472032d9466436e83182",
     ""},
    {"repeated header", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "x-amz-meta-a: 1\n"
     "X-Amz-Meta-A: 2\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-a, Signature=d33fd075d44a2ba877b71e1e38d7129a276d0667a0d423ea8183b6ba2b17bfc9",
     ""},
    {"tabs and spaces in a value", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "x-amz-meta-a: a \011 b\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-a, Signature=d01af39e4bd3e6530d3ff0b7d1ade732be9ec8662200ef33e1f767ba02ac353a",
     ""},
    {"unsigned ordinary headers", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "User-Agent: x\n"
     "Accept-Encoding: identity\n"
     "x-amzn-trace-id: r\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"signed ordinary headers", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Range: bytes=0-1\n"
     "Content-Type: a/b\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=content-type;host;range;x-amz-content-sha256;x-amz-date, Signature=4e3400aa867674e9b1425fda21468f65a6758877f189373e91d17e8a321a2f28",
     ""},
    {"SignedHeaders unsorted as sent, signed sorted", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=x-amz-date;x-amz-content-sha256;host, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"path escaped less than needed", S3_OK, UINT64_C(1767323045),
     "GET /bucket/a(b)!*'c\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=fe60e93f256208eb0f3114dca2203f2201a003b46536d7e91c25df378e9f555d",
     ""},
    {"path escaped more than needed", S3_OK, UINT64_C(1767323045),
     "GET /bucket/%61%62c%2Fd\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=86ee158c42d17a6597544d4adbc22f03ed43e2132ae16fc88393423fb85a96c9",
     ""},
    {"path in lower-case hex", S3_OK, UINT64_C(1767323045),
     "GET /bucket/%c3%a9\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=061d8c1ecede4dae6cdbd6b9908ea7bdc7c8085896e566b054bbcc633342e26c",
     ""},
    {"query in lower-case hex", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?prefix=%c3%a9%2f\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=2e3ff3b6956b122a0710768a338bdd10e3e124ba48062014decca4caff626e9c",
     ""},
    {"plus in a query is a plus", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?prefix=a+b\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=d6713653360e5fbc457399431ad7a420232f44d78cb093b75a3a769551897f61",
     ""},
    {"duplicated query keys", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?b=2&a=2&a=1&b=1\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=9da2e5118f353089c226eeee76320d422f419ca380b094a580556b1c5b68b733",
     ""},
    {"query names that sort by case", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?a=1&B=2&A=3&b=4\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=bfa30322f8f709e8d1e4273348fe5f78789ed520a5ec4db2d4cc3f6f8c0d8d1c",
     ""},
    {"valueless beside empty", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?acl&prefix=\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=0b354e4beffc7085315c01707a75dc3c129f9e1f95fcf6ba4f4f8b3eb9a06926",
     ""},
    {"asks for the region as if in us-east-1", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?location\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=8fdb8c9bf87592c676c120a342a902ce9481832d6c1870b3a20375c4a76cb304",
     ""},
    {"empty path", S3_OK, UINT64_C(1767323045),
     "GET /\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=a33c2c8df3b481ebce39b6d982ac527ba9a1bfceb93c8c72826f08cc6cd063de",
     ""},
    {"presigned", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned for a week", S3_OK, UINT64_C(1767927845),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=361b1694c69a0726176b3e4476aa08e16976084680f2bb67a300b78fee1c632f\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned for a second", S3_OK, UINT64_C(1767323046),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=0f72ce704cd2506b6615b5b42bef3d9a865061566d96ed80f1af843db16121b1\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned with a payload hash", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Content-Sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855&X-Amz-Signature=898d05cb3d310025283592def3a712838a625cdb5f0ef9da6efff2ec77c4f5d7\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned with UNSIGNED-PAYLOAD said", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&X-Amz-Signature=e0dd6e939d92d650af693047096d00f65de48ab38613338794afc54d96e38f12\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned with a signed hash header", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host%3Bx-amz-content-sha256&X-Amz-Signature=65551ea4cd09fdafdb1aafedb679cb0b7bf83ed4c92423c61d9a2fe71969dda1\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     ""},
    {"presigned with hoisted headers", S3_OK, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&x-amz-acl=private&x-amz-meta-a=b&X-Amz-Signature=2df1265330c12cd4b6e1ae4e8c9c159bb7cc72356a76be05924c185cf1d7f7eb\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"anonymous", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"anonymous with a query", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key?x-amz-signature=1\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"wrong secret", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=eed026f20ee1bd4aa5161131710bdd7baf3fc08229fdcfacfb0f514908e7ea0c",
     ""},
    {"unknown access key", S3_InvalidAccessKeyId, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAUNKNOWN/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"access key of another case", S3_InvalidAccessKeyId, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=akiaiosfodnn7example/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"access key with a slash", S3_InvalidAccessKeyId, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/SLASH/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"empty access key", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "Credential is mal-formed"},
    {"long access key", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "Credential is mal-formed"},
    {"signature of zeros", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     ""},
    {"signature empty", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature= ",
     ""},
    {"signature not hex", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
     ""},
    {"SigV2", S3_InvalidRequest, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=",
     "The authorization mechanism you have provided is not supported"},
    {"ECDSA", S3_NotImplemented, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-ECDSA-P256-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"Authorization: Bearer abc", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: Bearer abc",
     "Unsupported Authorization Type"},
    {"Authorization: Basic Og==", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: Basic Og==",
     "Unsupported Authorization Type"},
    {"Authorization: AWS4-HMAC-SHA256", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256",
     "Unsupported Authorization Type"},
    {"Authorization: AWS4-HMAC-SHA1 x", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA1 x",
     "Unsupported Authorization Type"},
    {"Authorization: aws4-hmac-sha256 Credential=x", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: aws4-hmac-sha256 Credential=x",
     "Unsupported Authorization Type"},
    {"Authorization: AWS4", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4",
     "Unsupported Authorization Type"},
    {"Authorization: AWS4-HMAC-SHA256Credential=x", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256Credential=x",
     "Unsupported Authorization Type"},
    {"Authorization:  ", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization:  ",
     "Unsupported Authorization Type"},
    {"header with no signature", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date",
     "requires three components"},
    {"header with no signed headers", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "requires three components"},
    {"header with no credential", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "requires three components"},
    {"header with signature twice", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "requires three components"},
    {"header with credential twice", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "requires three components"},
    {"header with a fourth component", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48, Extra=1",
     "requires three components"},
    {"header with no equals", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48, x",
     "requires three components"},
    {"header with empty component", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48, ",
     "requires three components"},
    {"header with lower-case names", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "requires three components"},
    {"two Authorization headers", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48\n"
     "authorization: AWS4-HMAC-SHA256 x",
     ""},
    {"credential 'AKID'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "Credential is mal-formed"},
    {"credential 'AKID/20260102'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260102, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "Credential is mal-formed"},
    {"credential 'AKID/20260102/us-east-1/s3'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260102/us-east-1/s3, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "Credential is mal-formed"},
    {"credential '/20260102/us-east-1/s3/aws4_request'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "Credential is mal-formed"},
    {"credential '////'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=////, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "Credential is mal-formed"},
    {"credential ''", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     "Credential is mal-formed"},
    {"another region", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-west-2/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=66dc258246b4133d7b776f7457e5a26670b99cde06884b323d0a606ef73e9c1b",
     "the region 'us-west-2' is wrong; expecting 'us-east-1'"},
    {"an empty region", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102//s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=9c59fee99dc053c511310e507d0f6d8039b598ebc09e1a637d02328978ffce0d",
     "the region '' is wrong"},
    {"a giant region", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=83d5f4f2035449dd02b575c5170fd9bb04e73d3efc6a28d396e997ed5781cdab",
     "is wrong"},
    {"another service", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=3386d0182c9d372f235415df9ee9080bbb4163fe31b64e80603a7951aade4d25",
     "incorrect service \"sts\""},
    {"another terminal", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws5_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=4e9fbe227618f87beaf7ec368990d22f6f300802f8565c38328865ac40558fd9",
     "incorrect terminal \"aws5_request\""},
    {"scope of yesterday", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=093a0ef1faa4a5d7cb18adaff31f8981425a97a73d7fe01d78f347b62a5264f3",
     "Invalid credential date \"20260101\""},
    {"scope date longer", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/202601020/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=2766338ced1f554f7054bd7920f18c34eda09986b06c9805da49c23e63d2d647",
     "Invalid credential date"},
    {"slow by more than 15 minutes", S3_RequestTimeTooSkewed, UINT64_C(1767323946),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"fast by more than 15 minutes", S3_RequestTimeTooSkewed, UINT64_C(1767322144),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"a century off", S3_RequestTimeTooSkewed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 21260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/21260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=8c2ca5429b37e7511ad1b18fc2a3745b6b9c41590c2634731d6428a67c1721f7",
     ""},
    {"no date", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256, Signature=f324ecacf5d8983d703a175875389b8bd6c2b708bc51e9c24b93252ea1ef511c",
     "valid Date or x-amz-date"},
    {"date ''", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: \n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=2e4e37ad643ff471bde33660bbec923a4b7a3c6e58e75bb34ef0e8ea96cbbd25",
     "valid Date or x-amz-date"},
    {"date '20260102'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=01e0f2eb68a2afde8014f20fdd61821a07f861d7e83917bf3bb3b26069d2289f",
     "valid Date or x-amz-date"},
    {"date '20260102T030405'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=609e43b3377cdb31b185353c662bec7cab7ade17beb0298010b6b91e573adc0f",
     "valid Date or x-amz-date"},
    {"date '2026-01-02T03:04:05Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 2026-01-02T03:04:05Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=7efdff62e3f8daf281d3193d6f0dabf357efb802ddabd64efa82811dd2f6671c",
     "valid Date or x-amz-date"},
    {"date '20260132T030405Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260132T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=4cf4b9843284c32d73e0ba4133694503c73a2e8135520244835de418e0115e61",
     "valid Date or x-amz-date"},
    {"date '20260229T030405Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260229T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=423aa65d54e8a5ff1c2e350960ce1b944ad0ed6117e903e0934ae4d0b2265f74",
     "valid Date or x-amz-date"},
    {"date '20261301T030405Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20261301T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=9c4e039360d6fef88a26360444ebb36032d05fc2472b9f5f8960165c78018b84",
     "valid Date or x-amz-date"},
    {"date '20260102T240000Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T240000Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=46b4e371603c27887f6acaeecc6d37bfc71d1ca3780584b0b84ab6abbd5b01cf",
     "valid Date or x-amz-date"},
    {"date '20260102T006000Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T006000Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=7cef2d50e7f7dcc94ad4be7361700c5beb5b4c5531459d275bc81d96895a7a77",
     "valid Date or x-amz-date"},
    {"date '20260102 030405Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102 030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=a451914aa0759b367db8bae6488198b3d1dd5180847d161b84564854a4eedf4d",
     "valid Date or x-amz-date"},
    {"date 'x0260102T030405Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: x0260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=214a818a40a5f47e409a315e5c3aa1ca04ed034792878f249b6b596e0c53eb78",
     "valid Date or x-amz-date"},
    {"date '99999999T999999Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 99999999T999999Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=f9e4a9d09010ee0fe3431fd64a8893abe96ff591d54a005139c31754329fae5a",
     "valid Date or x-amz-date"},
    {"date '+0260102T030405Z'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: +0260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=84dcdd1d8c0315474b1becc5ad88ccc3d200c95463a858e8d89dfa0165774e08",
     "valid Date or x-amz-date"},
    {"date 'Fri, 99 Jan 2026 03:04:05 GMT'", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: Fri, 99 Jan 2026 03:04:05 GMT\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=78f238ab4c39ba5e2861eaa6b86628476692f884a4d4a691f1eaf8eba210f3d0",
     "valid Date or x-amz-date"},
    {"two x-amz-date", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "X-Amz-Date: 20260102T030405Z\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=74fe337246557d9408dea2e87c8f4d132de766c6501775140356c08ec84c1efc",
     "valid Date or x-amz-date"},
    {"two Date", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "Date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "date: 20260102T030405Z\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256, Signature=f324ecacf5d8983d703a175875389b8bd6c2b708bc51e9c24b93252ea1ef511c",
     "valid Date or x-amz-date"},
    {"no payload hash beside a body", S3_InvalidRequest, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=ee1a6ce34c6b9b382a91354b7bf2776c87b2ff340e2527224dcc04f0a3c183bc\n"
     "Content-Length: 5",
     "Missing required header for this request: x-amz-content-sha256"},
    {"no payload hash beside a chunked body", S3_InvalidRequest, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=ee1a6ce34c6b9b382a91354b7bf2776c87b2ff340e2527224dcc04f0a3c183bc\n"
     "Transfer-Encoding: chunked",
     "Missing required header for this request: x-amz-content-sha256"},
    {"no payload hash, signed as if unsigned", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=47e69129d9f776fbb0118bedafd0ad39de30d64bd88fd1d899c242626361f3e7",
     ""},
    {"two payload hashes", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "X-Amz-Content-Sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=94d4d4df9c669ca5ef817d1c0d943d57837910bd191fe7c74d8a750cf579e1e1",
     "more than once"},
    {"payload ''", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: \n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=08b191c65908f006c5c0fa396fa997f83973902aa1dc9788c5168a54650b5061",
     "x-amz-content-sha256 must be"},
    {"payload 'abc'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: abc\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=d2c01b5634a1fead087674c920c05d1cc8daaee7a0e6db858eab0449f81ba215",
     "x-amz-content-sha256 must be"},
    {"payload 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=09f56aadf784cad05b57bf754162618d01d589fbb7a267ca956a2e3a7b291566",
     "x-amz-content-sha256 must be"},
    {"payload 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8550'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8550\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=aba662e4076dd0d9774b437d3594e9eadbab964f209c2b24ad541a019ccebf65",
     "x-amz-content-sha256 must be"},
    {"payload 'gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=515d22e89da0201c73875a25ac2f7a28cc9325783a0a3a6fef5534fb07067ddb",
     "x-amz-content-sha256 must be"},
    {"payload 'unsigned-payload'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: unsigned-payload\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dd8076830b91512c39096f3f27a3ce9a6c76556b99faec1e8a84f5ebf732c332",
     "x-amz-content-sha256 must be"},
    {"payload 'UNSIGNED-PAYLOAD-TRAILER'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD-TRAILER\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=65ac4b39acafeafce14ad4d096782978be1cbad617aadb8f4775135e3db6ecc1",
     "x-amz-content-sha256 must be"},
    {"payload 'STREAMING-UNSIGNED-PAYLOAD'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=a4053c6f3247299dfb3f9d118f5a054e6577007fbca78dfcf4b64605963a8651",
     "x-amz-content-sha256 must be"},
    {"payload 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILERS'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILERS\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=2c9a258cd5ff1e61578ea572629244cf0f392c51882e59811b4668c4d2078b19",
     "x-amz-content-sha256 must be"},
    {"payload 'STREAMING-AWS4-HMAC-SHA256-EVENTS'", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-EVENTS\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=09d922a78fb071cc87aacaf7f4449fba98c40adc551516b220ac8ec8639824a2",
     "x-amz-content-sha256 must be"},
    {"ECDSA chunks", S3_NotImplemented, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=012b087fd59af44ae6aa277ea0f9e74033fb3350d20c91190b5fbbee5dff8f6d",
     ""},
    {"ECDSA chunks with trailer", S3_NotImplemented, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=f3536582e39508a1063ae3735088e0ad1c15c6d3ade1d55c1ca59f36b341ea6e",
     ""},
    {"host not signed", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=x-amz-content-sha256;x-amz-date, Signature=20e5b5c04efbba44c610a5411efe0fb90d536cde05fac14de2befe7981e91ed7",
     "headers present in the request which were not signed"},
    {"x-amz-date not signed", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256, Signature=f324ecacf5d8983d703a175875389b8bd6c2b708bc51e9c24b93252ea1ef511c",
     "headers present in the request which were not signed"},
    {"payload hash not signed", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=47e69129d9f776fbb0118bedafd0ad39de30d64bd88fd1d899c242626361f3e7",
     "headers present in the request which were not signed"},
    {"x-amz-acl added on the way", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48\n"
     "x-amz-acl: x",
     "headers present in the request which were not signed"},
    {"X-Amz-Meta-Evil added on the way", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48\n"
     "X-Amz-Meta-Evil: x",
     "headers present in the request which were not signed"},
    {"X-AMZ-COPY-SOURCE added on the way", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48\n"
     "X-AMZ-COPY-SOURCE: x",
     "headers present in the request which were not signed"},
    {"x-amz- added on the way", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48\n"
     "x-amz-: x",
     "headers present in the request which were not signed"},
    {"a signed header is missing", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=b2b8486009a03bb213454fd6956bb46d1cc14f88c8124a773be52e178367f1a3",
     ""},
    {"no Host at all", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=b6618ad2888212b578e851ff443f01fe81e635b42938e5f2c85a8d74cec819c3",
     ""},
    {"another Host", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=faad4d5649cf3ee5d47d5ed243e5c5d0acd3b2b3ede72ef183c5b1abf8fe8817",
     ""},
    {"SignedHeaders ''", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=;, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     ""},
    {"SignedHeaders 'Host;x-amz-content-sha256;x-amz-date'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=Host;x-amz-content-sha256;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     "SignedHeaders"},
    {"SignedHeaders ';host'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=;host, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     "SignedHeaders"},
    {"SignedHeaders 'host;;x-amz-date'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     "SignedHeaders"},
    {"SignedHeaders 'host;x-amz-date;'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date;, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     "SignedHeaders"},
    {"SignedHeaders 'host;host'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;host, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     "SignedHeaders"},
    {"SignedHeaders 'host x-amz-date'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     "SignedHeaders"},
    {"SignedHeaders 'h\303\266st'", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=h\303\266st, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     "SignedHeaders"},
    {"too many signed headers", S3_AuthorizationHeaderMalformed, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=h0;h1;h2;h3;h4;h5;h6;h7;h8;h9;h10;h11;h12;h13;h14;h15;h16;h17;h18;h19;h20;h21;h22;h23;h24;h25;h26;h27;h28;h29;h30;h31;h32;h33;h34;h35;h36;h37;h38;h39;h40;h41;h42;h43;h44;h45;h46;h47;h48;h49;h50;h51;h52;h53;h54;h55;h56;h57;h58;h59;h60;h61;h62;h63;h64;h65;h66;h67;h68;h69;h70;h71;h72;h73;h74;h75;h76;h77;h78;h79;h80;h81;h82;h83;h84;h85;h86;h87;h88;h89;h90;h91;h92;h93;h94;h95;h96;h97;h98;h99;h100;h101;h102;h103;h104;h105;h106;h107;h108;h109;h110;h111;h112;h113;h114;h115;h116;h117;h118;h119;h120;h121;h122;h123;h124;h125;h126;h127;h128;h129;h130;h131;h132;h133;h134;h135;h136;h137;h138;h139;h140;h141;h142;h143;h144;h145;h146;h147;h148;h149;h150;h151;h152;h153;h154;h155;h156;h157;h158;h159;h160;h161;h162;h163;h164;h165;h166;h167;h168;h169;h170;h171;h172;h173;h174;h175;h176;h177;h178;h179;h180;h181;h182;h183;h184;h185;h186;h187;h188;h189;h190;h191;h192;h193;h194;h195;h196;h197;h198;h199, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     ""},
    {"session token in a header", S3_InvalidToken, UINT64_C(1767323045),
     "GET /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "x-amz-security-token: t\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=8ddf2d55b713c18a08fef0c5175ea97f66170eb8176983083e0841f48ab8a945",
     ""},
    {"session token in the query", S3_InvalidToken, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Security-Token=t\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=3c23d467fc7d9b31005ff06c845d3938cbcfab2bed20278c2b027f0e664f0819",
     ""},
    {"bad escape in the path", S3_InvalidURI, UINT64_C(1767323045),
     "GET /bucket/%zz\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     ""},
    {"NUL in the path", S3_InvalidURI, UINT64_C(1767323045),
     "GET /bucket/%00\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000",
     ""},
    {"signed doubly encoded", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/a%20b\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=fbdcf24789e11e23e3c7f472198415d38f398cc342b96b9378d7da5708380073",
     ""},
    {"signed with the path normalised", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/x/../key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=dcefc06391dedaa5fe4b0e70d01ef9af5c23fa18304fa2a60918e37cd5c48f48",
     ""},
    {"unsigned trailer with a made-up signature", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     ""},
    {"unsigned trailer of a known key without its secret", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "PUT /bucket/key\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=cd598db1173954c12e3eaa7beebc8ba4f8a92df35479166ef707419de05baeda",
     ""},
    {"presigned without X-Amz-Algorithm", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=de0dadac30793e9c8ec1b152b12b6e4412e70d7fd980371ce21a4d89a0138960\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned with X-Amz-Algorithm twice", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9&X-Amz-Algorithm=1\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned without X-Amz-Credential", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=25754c213239c1b116dd5a7d0d68eadc464949c9d0fac37fb88aa1b5f1b0983a\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned with X-Amz-Credential twice", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9&X-Amz-Credential=1\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned without X-Amz-Signature", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned with X-Amz-Signature twice", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9&X-Amz-Signature=1\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned without X-Amz-Date", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=2f0d693229d3a538ce02137568ba7ad2918ea8f295d5d95742ee01ef6108e253\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned with X-Amz-Date twice", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9&X-Amz-Date=1\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned without X-Amz-SignedHeaders", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-Signature=76f676735a8d8a83b87320a13aea76a69a5d53e059a28d246bb869ba8b1fde89\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned with X-Amz-SignedHeaders twice", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9&X-Amz-SignedHeaders=1\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned without X-Amz-Expires", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-SignedHeaders=host&X-Amz-Signature=f3e0fb8036f83850280e213fcec96b6492a101490b59b8b642da4f5f99c5a90a\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"presigned with X-Amz-Expires twice", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9&X-Amz-Expires=1\n"
     "Host: 127.0.0.1:9000",
     "requires the X-Amz-Algorithm"},
    {"unsigned trailer with only X-Amz-Credential", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "PUT /bucket/key?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER",
     "requires the X-Amz-Algorithm"},
    {"presigned, wrong signature", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=0000000000000000000000000000000000000000000000000000000000000000\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned, unknown key", S3_InvalidAccessKeyId, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAUNKNOWN%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=9e4bbdf8e75b090aee5e01e73d6019378bd1547064781788368648cf4d52798d\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned GET used as PUT", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "PUT /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned GET used as HEAD", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "HEAD /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned, a parameter added", S3_SignatureDoesNotMatch, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9&versionId=x\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned, expired", S3_AccessDenied, UINT64_C(1767326646),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000",
     "Request has expired"},
    {"presigned in the future", S3_AccessDenied, UINT64_C(1767322144),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000",
     "Request is not yet valid"},
    {"X-Amz-Expires='0'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=0&X-Amz-SignedHeaders=host&X-Amz-Signature=6446ae8b2d147c7d83588aca3d578bfa500a47ae8bd31501b0f5fb72024840df\n"
     "Host: 127.0.0.1:9000",
     "at least 1"},
    {"X-Amz-Expires='-1'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=-1&X-Amz-SignedHeaders=host&X-Amz-Signature=d0dea7c1c36187f3e6485867a572bd8eda6f454523295204294d65b35938c7ea\n"
     "Host: 127.0.0.1:9000",
     "non-negative"},
    {"X-Amz-Expires='604801'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=604801&X-Amz-SignedHeaders=host&X-Amz-Signature=6579133adba157a6fa8d522167d5e7b59dbf0d0a78e5f2918e53603a902d0218\n"
     "Host: 127.0.0.1:9000",
     "less than a week"},
    {"X-Amz-Expires='99999999999999999999999'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=99999999999999999999999&X-Amz-SignedHeaders=host&X-Amz-Signature=65bbdde80922b91b78e31dbe8d79a9fd6c5d9e09c96114e3721ae0074b1528e9\n"
     "Host: 127.0.0.1:9000",
     "less than a week"},
    {"X-Amz-Expires=''", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=&X-Amz-SignedHeaders=host&X-Amz-Signature=4a3d300d2aa40900baf29d0df11bdb24f717bca1e24238207085c0a58ef0c87d\n"
     "Host: 127.0.0.1:9000",
     "should be a number"},
    {"X-Amz-Expires='1h'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=1h&X-Amz-SignedHeaders=host&X-Amz-Signature=82486b164dcab23450bf7b31720d696f4b6b0ce03a14dd2eed68fb41b7b3f013\n"
     "Host: 127.0.0.1:9000",
     "should be a number"},
    {"X-Amz-Expires='+5'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=%2B5&X-Amz-SignedHeaders=host&X-Amz-Signature=025e55e14e14ef1a717127aecb86cec257033dd28d196cd6e6548ae41dec0547\n"
     "Host: 127.0.0.1:9000",
     "should be a number"},
    {"X-Amz-Expires=' 5'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=%205&X-Amz-SignedHeaders=host&X-Amz-Signature=3419390a7d78bc060d632a8b3f1b2ab21aef78ebcf17b71ddae3b4a65253ffcd\n"
     "Host: 127.0.0.1:9000",
     "should be a number"},
    {"X-Amz-Expires='0x10'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=0x10&X-Amz-SignedHeaders=host&X-Amz-Signature=4fa25a3b9747a2f71f7dcedfad85472be0c718b4614f69753d7832f7edcdc71c\n"
     "Host: 127.0.0.1:9000",
     "should be a number"},
    {"X-Amz-Expires='1e3'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=1e3&X-Amz-SignedHeaders=host&X-Amz-Signature=c51bd16d59c822998a26771f11c535854c3541548ea2fbbe3dbe264d356189f5\n"
     "Host: 127.0.0.1:9000",
     "should be a number"},
    {"X-Amz-Date=''", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=fcf86eadfb899d9ee3b7933602230fdfad2912f9a89ad1ed32ed5f1693e29979\n"
     "Host: 127.0.0.1:9000",
     "ISO8601"},
    {"X-Amz-Date='20260102'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=09479fcac20490cef984685441a9c00783ed9d38f1019b444b33962ee3ef4ec4\n"
     "Host: 127.0.0.1:9000",
     "ISO8601"},
    {"X-Amz-Date='20260102T030405'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=a5cb9d80beed6bed8f89f5c890017ec35b28b66a64a916a1a83ed20ee0c6e6ae\n"
     "Host: 127.0.0.1:9000",
     "ISO8601"},
    {"X-Amz-Date='2026-01-02T03:04:05Z'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=2026-01-02T03%3A04%3A05Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=6dd089149573265d35b197b09b0ec5c9d1adcb16c5b5f86ffc5b8ff2ee46c393\n"
     "Host: 127.0.0.1:9000",
     "ISO8601"},
    {"X-Amz-Date='Fri, 02 Jan 2026 03:04:05 GMT'", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=Fri%2C%2002%20Jan%202026%2003%3A04%3A05%20GMT&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=1090f2337c4a581e61f40de35fc41807dce07692b0b8dd695264062a85c05f97\n"
     "Host: 127.0.0.1:9000",
     "ISO8601"},
    {"presigned for another region", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=c7904739548985df32807f951fb4eee38ce1844a52584f948b61b2734771a2a6\n"
     "Host: 127.0.0.1:9000",
     "expecting 'us-east-1'"},
    {"presigned for another service", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fec2%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=b8b4d0fb712e8d96db70f81678db9dc71fdd3d11c1799061cd997c336924cd3c\n"
     "Host: 127.0.0.1:9000",
     "belongs to \"s3\""},
    {"presigned with another terminal", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=9a524ee6dbfa91c99baa4dc581aa622a2b6bac24f477edaa39ea43acc8ccaf5e\n"
     "Host: 127.0.0.1:9000",
     "aws4_request"},
    {"presigned, scope of another day", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260103%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=a2c24da3b29b8a47925e0473b9657d48d7328923c755060b5b6dca50d1313bba\n"
     "Host: 127.0.0.1:9000",
     "Invalid credential date"},
    {"presigned, SigV4 with another algorithm", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA512&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=9c2de4f57b2b8f7595a63aead5980add4534a28c13a3945028e73e9444c9b4ca\n"
     "Host: 127.0.0.1:9000",
     "X-Amz-Algorithm only supports"},
    {"presigned, ECDSA", S3_NotImplemented, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=9884f7c782212d1352db69c4885603fab504a4c734acb7bf31ea8eca49b3c904\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned, host not signed", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=range&X-Amz-Signature=b9c1f73abef547206482a4955bc34ff2d9c3d2da6b9c67fd96ffdeeff3636de0\n"
     "Host: 127.0.0.1:9000\n"
     "Range: bytes=0-1",
     "headers present in the request which were not signed"},
    {"presigned, no signed headers", S3_AuthorizationQueryParametersError, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=%3B&X-Amz-Signature=871a8d1681f11568ff5c57ac654da63f5e078f144c7116663190a6db3b4484c1\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned, an x-amz-* header added", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-acl: public-read",
     "headers present in the request which were not signed"},
    {"presigned, the hash header added", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD",
     "headers present in the request which were not signed"},
    {"presigned with a token", S3_InvalidToken, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t&X-Amz-Signature=5d7d1b16ca17b8a8f56e4e5db00da576ae66e599e05d9d88a7d7bdb0a936bd1c\n"
     "Host: 127.0.0.1:9000",
     ""},
    {"presigned, hash in query and header differ", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host%3Bx-amz-content-sha256&X-Amz-Content-Sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855&X-Amz-Signature=c1e5bba37724b52f1ea80c9ffd24d0b6cfe24772878cc14a46f952b983b7cb0d\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD",
     "more than once"},
    {"presigned, hash twice", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Content-Sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855&X-Amz-Content-Sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855&X-Amz-Signature=a95984beffa1aaea80ae3a6b1cc1fecbd06fe41d0759e9f7cb88694f67933a66\n"
     "Host: 127.0.0.1:9000",
     "more than once"},
    {"presigned STREAMING-AWS4-HMAC-SHA256-PAYLOAD", S3_NotImplemented, UINT64_C(1767323045),
     "PUT /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host%3Bx-amz-content-sha256&X-Amz-Signature=a355b8f87c6a21ac7f322968f420b4ff9d61b0fff3c1e41abce05320aa9c5ecb\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
     ""},
    {"presigned STREAMING-UNSIGNED-PAYLOAD-TRAILER", S3_NotImplemented, UINT64_C(1767323045),
     "PUT /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host%3Bx-amz-content-sha256&X-Amz-Signature=b8b032355e60b8e5fa9291ce72e85bbe445122a676566bcee582a127dc727a79\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER",
     ""},
    {"presigned STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", S3_NotImplemented, UINT64_C(1767323045),
     "PUT /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host%3Bx-amz-content-sha256&X-Amz-Signature=1e54833db6e2a7f931393f02cdb70f795489b5b1e1c09c911c44ad3c73935e9e\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
     ""},
    {"presigned, bad hash", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Content-Sha256=x&X-Amz-Signature=b7794282c0cfd47c6ff515bcaa4211e1f98b15c8c4469c9337aeb4e811ea0015\n"
     "Host: 127.0.0.1:9000",
     "must be"},
    {"both forms of auth", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=f41b86d8e54f3d7403c37b1180169225a1dbceb41f7bd0b33f9635cb235bdfe9\n"
     "Host: 127.0.0.1:9000\n"
     "Authorization: AWS4-HMAC-SHA256 x",
     "Only one auth mechanism allowed"},
    {"both forms of auth, a good header", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Signature=1\n"
     "Host: 127.0.0.1:9000\n"
     "x-amz-date: 20260102T030405Z\n"
     "x-amz-content-sha256: UNSIGNED-PAYLOAD\n"
     "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=ad6de7ec41ae652b35e5bf8c6b4a9365e6d0b1c7784da1d2ee3ded17f51a3c4e",
     "Only one auth mechanism allowed"},
    {"SigV2 in the query", S3_InvalidRequest, UINT64_C(1767323045),
     "GET /bucket/key?AWSAccessKeyId=x&Expires=1&Signature=y\n"
     "Host: 127.0.0.1:9000",
     "The authorization mechanism you have provided is not supported"},
    {"SigV2 in the query and a header", S3_InvalidArgument, UINT64_C(1767323045),
     "GET /bucket/key?AWSAccessKeyId=x&Expires=1&Signature=y\n"
     "Host: 127.0.0.1:9000\n"
     "Authorization: AWS a:b",
     "Only one auth mechanism"},
    {"lower-case parameter names are no signature", S3_AccessDenied, UINT64_C(1767323045),
     "GET /bucket/key?X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&x-amz-signature=0000000000000000000000000000000000000000000000000000000000000000\n"
     "Host: 127.0.0.1:9000",
     ""},
};
