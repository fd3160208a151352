/* media_type - the Content-Type for a file's name, rows of media_types.def. Thread: pure. */
#pragma once
const char *media_type(const char *path); /* "application/octet-stream" when nothing is known; static memory */
