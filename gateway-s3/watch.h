/* watch - the page on which a lesson can be watched: GET /watch#PLAYBACK-URL.
 *
 * The page knows no secrets: the playback URL stands in the fragment, which browsers never send. Page and script are
 * embedded at build time. HLS is played by hls.js where the assets directory has it (served as /watch/hls.min.js), else
 * by the browser itself; MP4, audio and captions natively; PDF and EPUB are a link.
 * Thread: the loop; watch_open reads the assets once, blocking. Memory: watch_open returns owned.
 * Limits: WATCH_ASSET_MAX. */
#pragma once
#include "common/http.h"

#define WATCH_ASSET_MAX (4 * MIB)

struct watch;
/* assets_dir: NULL or "" for none; a missing hls.min.js is not an error. -ENOMEM. */
int watch_open(const char *assets_dir, struct watch **ret_watch);
void watch_close(struct watch *w);
/* Is it ours: a plain GET or HEAD of /watch or below, without signature or query. Signed requests are for S3, so that a
 * bucket named "watch" stays usable. */
bool watch_wants(const struct http_req *r);
void watch_start(struct watch *w, struct http_req *r);
