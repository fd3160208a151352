/* The settings that clients ask every bucket and object about. Ours have the defaults of a bucket on which nobody ever
 * set anything: private, not versioned, no policy, no lifecycle... Each answer is what AWS says of such a bucket. */
#include "gateway-s3/s3_object.h"

static void reply_document(struct s3_request *s, const char *inside)
{
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    sbuf_puts(&out, inside);
    s3_reply_xml(s, &out);
}
#define EMPTY(root) "<" root " xmlns=\"" XML_S3_NS "\"/>"

void s3_get_bucket_location(struct s3_request *s)
{
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    if (strcmp(s->g->conf.region, "us-east-1") == 0) { /* AWS: us-east-1 is told by an empty element */
        sbuf_puts(&out, EMPTY("LocationConstraint"));
    } else {
        xml_open_ns(&out, "LocationConstraint");
        xml_escape(&out, str_c(s->g->conf.region));
        xml_close(&out, "LocationConstraint");
    }
    s3_reply_xml(s, &out);
}

void s3_get_bucket_versioning(struct s3_request *s)
{
    reply_document(s, EMPTY("VersioningConfiguration"));
}

void s3_get_bucket_logging(struct s3_request *s)
{
    reply_document(s, EMPTY("BucketLoggingStatus"));
}

void s3_get_bucket_notification(struct s3_request *s)
{
    reply_document(s, EMPTY("NotificationConfiguration"));
}

void s3_get_accelerate(struct s3_request *s)
{
    reply_document(s, EMPTY("AccelerateConfiguration"));
}

void s3_get_request_payment(struct s3_request *s)
{
    reply_document(s, "<RequestPaymentConfiguration xmlns=\"" XML_S3_NS
                      "\"><Payer>BucketOwner</Payer></RequestPaymentConfiguration>");
}

void s3_get_public_access_block(struct s3_request *s)
{
    reply_document(s, "<PublicAccessBlockConfiguration xmlns=\"" XML_S3_NS "\"><BlockPublicAcls>true</BlockPublicAcls>"
                      "<IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>"
                      "<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>");
}

void s3_get_ownership_controls(struct s3_request *s)
{
    reply_document(s, "<OwnershipControls xmlns=\"" XML_S3_NS "\"><Rule><ObjectOwnership>BucketOwnerEnforced"
                      "</ObjectOwnership></Rule></OwnershipControls>");
}

#define ABSENT(handler, error)                                                                                         \
    void handler(struct s3_request *s)                                                                                 \
    {                                                                                                                  \
        s3_extra(s, "BucketName", s->route.bucket);                                                                    \
        s3_fail(s, error);                                                                                             \
    }
ABSENT(s3_no_policy, S3_NoSuchBucketPolicy)
ABSENT(s3_no_lifecycle, S3_NoSuchLifecycleConfiguration)
ABSENT(s3_no_cors, S3_NoSuchCORSConfiguration)
ABSENT(s3_no_tag_set, S3_NoSuchTagSet)
ABSENT(s3_no_encryption, S3_ServerSideEncryptionConfigurationNotFoundError)
ABSENT(s3_no_object_lock, S3_ObjectLockConfigurationNotFoundError)
ABSENT(s3_no_object_lock_here, S3_NoSuchObjectLockConfiguration)
ABSENT(s3_no_website, S3_NoSuchWebsiteConfiguration)
ABSENT(s3_no_replication, S3_ReplicationConfigurationNotFoundError)

/* ---- ACLs: the owner may do everything, and that cannot be changed ---- */

static void reply_acl(struct s3_request *s, const char *owner)
{
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "AccessControlPolicy");
    xml_open(&out, "Owner");
    xml_c(&out, "ID", owner);
    xml_c(&out, "DisplayName", owner);
    xml_close(&out, "Owner");
    xml_open(&out, "AccessControlList");
    xml_open(&out, "Grant");
    sbuf_puts(&out, "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">");
    xml_c(&out, "ID", owner);
    xml_c(&out, "DisplayName", owner);
    xml_close(&out, "Grantee");
    xml_c(&out, "Permission", "FULL_CONTROL");
    xml_close(&out, "Grant");
    xml_close(&out, "AccessControlList");
    xml_close(&out, "AccessControlPolicy");
    s3_reply_xml(s, &out);
}

static const Pb__Object *found(struct s3_request *s, int status, void *rep)
{
    const Pb__ObjectGetRep *got = status == 0 ? rep : NULL;
    if (got && got->object)
        return got->object;
    s3_fail(s, status ? s3_error_of(status) : S3_InternalError);
    return NULL;
}

static void on_acl_object(struct s3_request *s, int status, void *rep)
{
    if (found(s, status, rep))
        reply_acl(s, s->bucket->owner);
}

void s3_get_acl(struct s3_request *s)
{
    if (s->route.op->target == S3_TARGET_BUCKET)
        reply_acl(s, s->bucket->owner);
    else if (s3_version_ok(s))
        s3_object_find(s, s->route.bucket, s->route.key, false, on_acl_object);
}

static void on_acl_target(struct s3_request *s, int status, void *rep)
{
    if (found(s, status, rep))
        s3_reply_empty(s, 200);
}

/* Only what is true already may be set: "private", without grants to anybody else. */
void s3_put_acl(struct s3_request *s)
{
    struct str acl = s3_header(s, "x-amz-acl");
    if (!s3_unsupported(s))
        return;
    if (!acl.p)
        s3_fail(s, S3_NotImplemented);
    else if (s->route.op->target == S3_TARGET_BUCKET)
        s3_reply_empty(s, 200);
    else
        s3_object_find(s, s->route.bucket, s->route.key, false, on_acl_target);
}
