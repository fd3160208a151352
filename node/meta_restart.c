/* meta_restart - mends what failed while the service runs. A replica that failed is out until the metadata starts
 * again, and a service that halted takes no writes; so, after a while, the drives are probed, and when that goes well
 * the service drains, closes all replicas, and goes through the same start as a new process does (meta_start: chooses,
 * replays, fills), with requests waiting in their queues. Between attempts that change nothing the wait doubles. */
#include "node/meta_impl.h"
#include "common/log.h"
#include "common/metrics.h"
#include <stdio.h>

#define HALTED_FIRST_MS UINT64_C(1000) /* nothing can be written: try soon */
#define HALTED_MOST_MS  UINT64_C(30000)
#define REJOIN_FIRST_MS UINT64_C(30000) /* one replica is missing: the start takes a moment from everybody */
#define REJOIN_MOST_MS  UINT64_C(1800000)
#define PROBE_BYTES     (4 * MIB) /* must fit before a drive is tried again */

static int probe(struct meta *m, const char *dir)
{
    char path[META_PATH_MAX + 16];
    struct disk *d = m->conf.disk;
    struct disk_file *f;
    int n = snprintf(path, sizeof path, "%s/probe.tmp", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    char why[128];
    int err = meta_space_start(d, dir, why, sizeof why);
    if (!err)
        err = d->ops->open(d, path, DISK_CREATE | DISK_DIRECT, &f);
    if (err)
        return err;
    err = d->ops->zero(d, f, 0, PROBE_BYTES);
    d->ops->close(d, f);
    int gone = d->ops->unlink(d, path);
    return err ? err : gone;
}

static bool must_mend(const struct meta_replica *r)
{
    return r->failed || r->state != META_COPY_GOOD;
}

static void probe_run(struct work_req *work)
{
    struct meta_restart *rs = container_of(work, struct meta_restart, work);
    struct meta *m = container_of(rs, struct meta, restart);
    unsigned good = 0, mended = 0;
    for (unsigned i = 0; i < m->conf.replica_count; i++) {
        if (probe(m, m->dirs[i]))
            continue;
        good++;
        mended += rs->broken >> i & 1;
    }
    rs->worth_it = good >= rs->least && mended > 0;
}

static void start_run(struct work_req *work)
{
    struct meta_restart *rs = container_of(work, struct meta_restart, work);
    rs->err = meta_start_again(container_of(rs, struct meta, restart), rs->why, sizeof rs->why);
}

static void restart_timer(struct loop_timer *t);

/* Whether there is anything to mend. */
static bool wanted(const struct meta *m)
{
    if (m->restart.down || m->core.halted)
        return true;
    for (unsigned i = 0; i < m->replica_count; i++)
        if (must_mend(&m->replicas[i]))
            return true;
    return false;
}

void meta_restart_want(struct meta *m)
{
    struct meta_restart *rs = &m->restart;
    if (m->closing || rs->step != META_RESTART_IDLE || !wanted(m))
        return;
    bool urgent = rs->down || m->core.halted;
    unsigned doubled = MIN_OF(rs->attempts, 10);
    uint64_t ms = urgent ? MIN_OF(HALTED_FIRST_MS << doubled, HALTED_MOST_MS)
                         : MIN_OF(REJOIN_FIRST_MS << doubled, REJOIN_MOST_MS);
    rs->timer.cb = restart_timer;
    if (!loop_timer_armed(&rs->timer) || urgent)
        loop_timer_start(m->conf.loop, &rs->timer, ms * MS_NS);
}

static void restart_rest(struct meta *m)
{
    m->restart.step = META_RESTART_IDLE;
    m->restart.paused = false;
    m->restart.attempts++;
    if (!wanted(m))
        m->restart.attempts = 0;
    meta_restart_want(m);
}

static void started(struct work_req *work)
{
    struct meta_restart *rs = container_of(work, struct meta_restart, work);
    struct meta *m = container_of(rs, struct meta, restart);
    rs->down = rs->err != 0;
    if (rs->err)
        log_event(LOG_ERROR, "metadata_restart_failed", "why=%s", log_quote(str_c(rs->why)));
    else
        log_event(LOG_INFO, "metadata_restarted", "epoch=%llu in_sync=%u", (unsigned long long)m->core.epoch,
                  (unsigned)__builtin_popcount(metalog_in_set(&m->core)));
    metric_set(M_META_REPLICAS, NULL, rs->down ? 0 : __builtin_popcount(metalog_in_set(&m->core)));
    restart_rest(m);
    meta_resume(m);
}

static void probed(struct work_req *work)
{
    struct meta_restart *rs = container_of(work, struct meta_restart, work);
    struct meta *m = container_of(rs, struct meta, restart);
    if (!rs->worth_it || m->closing) {
        restart_rest(m);
        meta_settle(m);
        return;
    }
    meta_status(m, &rs->status); /* what is told while the replicas are closed */
    rs->status.writable = false;
    rs->step = META_RESTART_DRAIN;
    rs->paused = true;
    meta_settle(m);
}

static void restart_timer(struct loop_timer *t)
{
    struct meta_restart *rs = container_of(t, struct meta_restart, timer);
    struct meta *m = container_of(rs, struct meta, restart);
    if (!wanted(m) || m->closing)
        return;
    if (meta_commit_stalled(m)) { /* a start closes everything, and what hangs cannot be closed */
        rs->attempts++;
        meta_restart_want(m);
        return;
    }
    rs->step = META_RESTART_PROBE;
    rs->least = rs->down ? 1 : m->core.quorum; /* when it is down the start itself will find how many are enough */
    rs->broken = rs->down || m->core.halted ? UINT32_MAX : 0;
    for (unsigned i = 0; i < m->replica_count; i++)
        rs->broken |= must_mend(&m->replicas[i]) ? 1U << m->replicas[i].number : 0;
    rs->work.run = probe_run;
    rs->work.cb = probed;
    work_submit(m->conf.work, &rs->work);
}

void meta_restart_advance(struct meta *m)
{
    struct meta_restart *rs = &m->restart;
    if (rs->step != META_RESTART_DRAIN)
        return;
    if (m->closing) {
        restart_rest(m);
        return;
    }
    if (meta_commit_stalled(m)) { /* the last write hung: nobody may wait for that */
        restart_rest(m);
        meta_resume(m);
        return;
    }
    bool drained = m->group.step == META_IDLE && m->reads_out == 0 && m->gc.step != GC_SCAN && meta_commit_idle(m);
    if (!drained)
        return;
    rs->step = META_RESTART_START;
    rs->work.run = start_run;
    rs->work.cb = started;
    work_submit(m->conf.work, &rs->work);
}

bool meta_restart_close(struct meta *m)
{
    loop_timer_stop(m->conf.loop, &m->restart.timer);
    return m->restart.step == META_RESTART_IDLE;
}
