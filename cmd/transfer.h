/* transfer - files on their way up or down: many at once, in parts, tried again, gone on with after an interruption.
 *
 * A transfer is one file and a step; its way (upload.c, download.c) says which call comes next and what an answer
 * means. The set (transfer.c) owns the slots in which calls run, tries again what failed for the moment, and paints
 * the progress.
 * Thread: one; blocking. Memory: transfers belong to the set. Limits: TRANSFER_PARTS_MAX; parallel * part size of
 * memory. Errors: a transfer that failed has said why; the others go on. */
#pragma once
#include "cmd/human.h"
#include "cmd/s3c.h"

#define TRANSFER_PARTS_MAX    10000
#define TRANSFER_PARALLEL_MAX 64
#define TRANSFER_TRIES        6
#define TRANSFER_PART_DEFAULT (8 * MIB)
#define TRANSFER_PART_LEAST   (5 * MIB)
#define TRANSFER_PART_MOST    (5 * GIB)

enum part_state { PART_WAITING, PART_RUNNING, PART_DONE };
struct transfer_part {
    uint64_t offset, bytes;
    uint8_t md5[16];
    enum part_state state;
};
enum transfer_step {
    TRANSFER_BEGIN,
    TRANSFER_FIND,   /* up: which parts are there from last time? */
    TRANSFER_CREATE, /* up: begin a multipart upload */
    TRANSFER_WHOLE,  /* up: one PUT */
    TRANSFER_HEAD,   /* down: size and ETag */
    TRANSFER_PARTS,
    TRANSFER_COMPLETE, /* up */
    TRANSFER_VERIFY,   /* down: ask for the sizes of the parts that the ETag was made of */
    TRANSFER_DONE,
    TRANSFER_FAILED,
};

struct slot;
struct transfer;
struct transfer_way {
    /* Sets up the slot's call and returns true, or returns false: nothing to begin now (or the transfer has ended). */
    bool (*next)(struct transfer *t, struct slot *s);
    /* The slot's call has a final answer (any status but those worth another try). */
    void (*answered)(struct transfer *t, struct slot *s);
};
extern const struct transfer_way transfer_up, transfer_down;

struct transfer_set;
struct transfer {
    const struct transfer_way *way;
    struct transfer_set *set;
    char *path, *bucket, *key; /* owned */
    enum transfer_step step;
    int fd; /* -1 */
    uint64_t size, moved_bytes, part_bytes;
    uint64_t mtime_ns;
    unsigned part_count, part_next, parts_done, running;
    struct transfer_part *parts; /* owned */
    char *upload_id;             /* owned */
    char etag[80];
    char *state_path;    /* owned; where the resume state stands */
    char *part_path;     /* owned; down: the file while it is not whole */
    unsigned list_after; /* up: ListParts page */
    uint64_t resumed_bytes;
    struct digest *etag_digest; /* down: of the parts that the ETag was made of */
    unsigned etag_count, etag_at;
    uint64_t etag_offset; /* where part etag_at begins */
    struct transfer *next;
};

struct slot {
    struct s3c_call call;
    struct transfer *transfer; /* NULL: free */
    struct transfer_set *set;
    unsigned part;
    enum transfer_step step; /* what the call is for */
    uint8_t *memory;         /* of a part that goes up */
    size_t memory_cap;
    char header[2][256], number[16];
    unsigned tries;
    uint64_t retry_at_ms;
    bool running;
};

struct transfer_set {
    struct s3c s3;
    const struct cmdline *line;
    unsigned parallel;
    uint64_t part_bytes;
    bool quiet, tty;
    struct transfer *first, **last;
    struct slot slots[TRANSFER_PARALLEL_MAX];
    uint64_t total_bytes, ended_bytes, done_bytes; /* sizes of all; of those that ended; that ended well */
    uint64_t resumed_bytes, started_ms, painted_ms, painted_bytes;
    double rate;
    unsigned count, ended, failed;
};
int transfer_set_open(struct transfer_set *set, const struct cmdline *l);
void transfer_set_close(struct transfer_set *set);
/* Strings are copied. size: 0 when it is not known yet. */
void transfer_add(struct transfer_set *set, const struct transfer_way *way, const char *path, struct str bucket,
                  struct str key, uint64_t size);
int transfer_run(struct transfer_set *set); /* exit code */

/* ---- for upload.c and download.c ---- */
void transfer_fail(struct transfer *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void transfer_done(struct transfer *t);
bool transfer_cut(struct transfer *t); /* sets parts and part_bytes from size; false: failed */
struct transfer_part *transfer_next_part(struct transfer *t, unsigned *ret_index); /* waiting -> running, or NULL */
/* Reads or hashes [offset, offset + n) of the file. 0 or -errno; -EIO when the file is shorter now. */
int transfer_read(int fd, uint8_t *p, uint64_t offset, size_t n);
int transfer_md5(int fd, uint64_t offset, uint64_t n, uint8_t ret[16]);

/* resume.c: what is remembered between runs. Every function fails quietly: then the transfer begins anew. */
void resume_upload_load(struct transfer *t); /* sets upload_id and part_bytes */
void resume_upload_save(struct transfer *t);
void resume_download_load(struct transfer *t); /* marks parts done */
void resume_download_save(struct transfer *t);
void resume_forget(struct transfer *t);

/* progress.c */
void progress_paint(struct transfer_set *set, uint64_t now_ms, bool last);
void progress_file(struct transfer *t); /* one line for a file that ended well */
uint64_t progress_now_ms(void);
