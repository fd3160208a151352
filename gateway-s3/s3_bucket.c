/* Buckets: create, head, delete, list, and the configuration that a bucket has without ever having been configured.
 *
 * Creating a bucket that one owns answers 409 BucketAlreadyOwnedByYou in every region; AWS answers 200 in us-east-1 for
 * old clients' sake, which hides mistakes. */
#include "gateway-s3/s3_list.h"
#include "gateway-s3/s3_request.h"

#define BUCKETS_PAGE 1000  /* of one metadata call */
#define BUCKETS_MAX  10000 /* of one answer */

/* ---- create, head, delete ---- */

static void on_created(struct s3_request *s, int status, void *rep)
{
    if (s3_gone(s))
        return;
    if (status == RPC_EXISTS) {
        const Pb__BucketCreateRep *r = rep;
        bool own = r && r->existing && str_eq(str_c(r->existing->owner), s->creator);
        s3_fail(s, own ? S3_BucketAlreadyOwnedByYou : S3_BucketAlreadyExists);
    } else if (status) {
        s3_fail(s, s3_error_of(status));
    } else {
        s3_header_addf(s, "Location", "/" STR_FMT, STR_ARG(s->route.bucket));
        s3_reply_empty(s, 200);
    }
}

static void create(struct s3_request *s)
{
    Pb__BucketCreateReq *req = arena_alloc(&s->arena, sizeof *req);
    Pb__Bucket *b = arena_alloc(&s->arena, sizeof *b);
    char *name = s3_text(s, s->route.bucket), *owner = s3_text(s, s->creator);
    if (!req || !b || !name || !owner) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__bucket_create_req__init(req);
    pb__bucket__init(b);
    b->format = 1;
    b->name = name;
    b->owner = owner;
    b->created_ms = s->now_ms;
    req->bucket = b;
    s3_call(s, RPC_BUCKET_CREATE, req, on_created);
}

static void on_configuration(struct s3_request *s, enum s3_error e)
{
    struct xml_node *root;
    struct str text = {s->body.memory.p, s->body.memory.len};
    if (e == S3_OK && text.len) {
        if (xml_parse(&s->arena, text, &root) != 0 || !str_eq(root->name, STR("CreateBucketConfiguration"))) {
            e = S3_MalformedXML;
        } else {
            struct str where = xml_text(root, "LocationConstraint");
            if (where.len && !str_eq(where, str_c(s->g->conf.region)))
                e = S3_IllegalLocationConstraintException;
        }
    }
    if (e == S3_OK)
        create(s);
    else
        s3_fail(s, e);
}

void s3_create_bucket(struct s3_request *s)
{
    struct str acl = s3_header(s, "x-amz-acl");
    if ((acl.p && !str_eq(acl, STR("private"))) ||
        str_ieq(s3_header(s, "x-amz-bucket-object-lock-enabled"), STR("true"))) {
        s3_extra(s, "Header", acl.p ? STR("x-amz-acl") : STR("x-amz-bucket-object-lock-enabled"));
        s3_fail(s, S3_NotImplemented);
        return;
    }
    if (!(s3_rights(s, s->route.bucket, s->creator) & RIGHT_OWNER)) {
        s3_fail(s, S3_AccessDenied);
        return;
    }
    enum s3_error e = s3_body_to_memory(s, on_configuration);
    if (e != S3_OK)
        s3_fail(s, e);
}

void s3_head_bucket(struct s3_request *s)
{
    s3_header_add(s, "x-amz-bucket-region", str_c(s->g->conf.region));
    s3_header_add(s, "x-amz-access-point-alias", STR("false"));
    s3_header_add(s, "Content-Type", STR("application/xml"));
    s3_reply_empty(s, 200);
}

static void on_deleted(struct s3_request *s, int status, void *rep)
{
    (void)rep;
    if (status)
        s3_fail(s, status == RPC_NOT_FOUND ? S3_NoSuchBucket : s3_error_of(status));
    else
        s3_reply_empty(s, 204);
}

void s3_delete_bucket(struct s3_request *s)
{
    Pb__BucketDeleteReq *req = arena_alloc(&s->arena, sizeof *req);
    char *name = s3_text(s, s->route.bucket);
    if (!req || !name) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__bucket_delete_req__init(req);
    req->name = name;
    s3_call(s, RPC_BUCKET_DELETE, req, on_deleted);
}

/* ---- list ---- */

struct buckets {
    struct str prefix;
    uint64_t limit, count;
    struct sbuf out; /* <Bucket> elements so far */
    struct str last;
};

static void buckets_cleanup(struct s3_request *s)
{
    struct buckets *b = s->state;
    sbuf_fini(&b->out);
}

static void reply_buckets(struct s3_request *s, bool truncated)
{
    struct buckets *b = s->state;
    struct sbuf out = {0};
    sbuf_puts(&out, XML_DECLARATION);
    xml_open_ns(&out, "ListAllMyBucketsResult");
    xml_open(&out, "Owner");
    xml_str(&out, "ID", s->creator);
    xml_str(&out, "DisplayName", s->creator);
    xml_close(&out, "Owner");
    xml_open(&out, "Buckets");
    sbuf_add(&out, b->out.p, b->out.len);
    xml_close(&out, "Buckets");
    if (truncated) {
        struct str next = s3_list_token_encode(&s->arena, &(struct s3_list_token){b->last, false});
        xml_str(&out, "ContinuationToken", next);
    }
    if (b->prefix.len)
        xml_str(&out, "Prefix", b->prefix);
    xml_close(&out, "ListAllMyBucketsResult");
    out.err = out.err ? out.err : b->out.err;
    s3_reply_xml(s, &out);
}

static void ask_buckets(struct s3_request *s);

static void on_buckets(struct s3_request *s, int status, void *rep)
{
    struct buckets *b = s->state;
    const Pb__BucketListRep *r = rep;
    if (s3_gone(s))
        return;
    if (status || !r) {
        s3_fail(s, status ? s3_error_of(status) : S3_InternalError);
        return;
    }
    for (size_t i = 0; i < r->n_buckets; i++) {
        xml_open(&b->out, "Bucket");
        xml_c(&b->out, "Name", r->buckets[i]->name);
        xml_time(&b->out, "CreationDate", r->buckets[i]->created_ms / 1000 * 1000);
        xml_c(&b->out, "BucketRegion", s->g->conf.region);
        xml_close(&b->out, "Bucket");
        b->last = str_c(r->buckets[i]->name);
        b->count++;
    }
    if (r->truncated && r->n_buckets && b->count < b->limit)
        ask_buckets(s);
    else
        reply_buckets(s, r->truncated && r->n_buckets);
}

static void ask_buckets(struct s3_request *s)
{
    struct buckets *b = s->state;
    Pb__BucketListReq *req = arena_alloc(&s->arena, sizeof *req);
    char *owner = s3_text(s, s->root ? STR("") : s->creator);
    char *prefix = s3_text(s, b->prefix), *after = s3_text(s, b->last);
    if (!req || !owner || !prefix || !after) {
        s3_fail(s, S3_InternalError);
        return;
    }
    pb__bucket_list_req__init(req);
    req->owner = owner;
    req->prefix = prefix;
    req->after = after;
    req->limit = (uint32_t)MIN_OF(b->limit - b->count, BUCKETS_PAGE);
    s3_call(s, RPC_BUCKET_LIST, req, on_buckets);
}

void s3_list_buckets(struct s3_request *s)
{
    struct buckets *b = arena_alloc(&s->arena, sizeof *b);
    struct str token = s3_param_value(s, "continuation-token"), region = s3_param_value(s, "bucket-region");
    struct s3_list_token from = {0};
    if (!b) {
        s3_fail(s, S3_InternalError);
        return;
    }
    s->state = b;
    s->cleanup = buckets_cleanup;
    b->prefix = s3_param_value(s, "prefix");
    if (!s3_param_u64(s, "max-buckets", BUCKETS_MAX, BUCKETS_MAX, false, &b->limit))
        return;
    if (token.len && s3_list_token_decode(&s->arena, token, &from) != 0) {
        s3_invalid_argument(s, "continuation-token", token, "The continuation token provided is incorrect");
        return;
    }
    b->last = from.after;
    if (b->limit == 0 || (region.len && !str_eq(region, str_c(s->g->conf.region))))
        reply_buckets(s, false);
    else
        ask_buckets(s);
}
