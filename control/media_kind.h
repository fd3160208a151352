/* media_kind - what a file is, by its name's ending: the audience that may open it, and its Content-Type where the
 * uploader said none.
 *
 * Thread: any; pure. Rows: media_kinds.def. */
#pragma once
#include "common/base.h"

enum media_class {
    MEDIA_OTHER,
    MEDIA_STREAM,   /* video, audio, segments, captions */
    MEDIA_PLAYLIST, /* small, re-read by players */
    MEDIA_IMAGE,
    MEDIA_KEY, /* decryption keys: never stored by anybody */
    MEDIA_DOCUMENT,
    MEDIA_ACTIVE, /* could run scripts under our origin */
};
struct media_kind {
    const char *ending; /* "m3u8" */
    enum media_class class;
    const char *type;
};
/* The row of a key's ending (letters' case is ignored); a row of MEDIA_OTHER and "application/octet-stream" if none. */
const struct media_kind *media_kind(struct str key);
/* May a token of this audience (enum token_audience) open this key? PLAY and DOWNLOAD: everything; THUMBNAIL: images
 * only; KEY: decryption keys only. */
bool media_kind_allowed(unsigned audience, struct str key);
