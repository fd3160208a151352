/* Built with the installed header alone and linked with liblectern.so alone, as a stranger's program is: every function
 * of the header must be there, and nothing else of ours. */
#include <lectern.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                    \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

int main(void)
{
    struct lectern *l = NULL;
    MUST(lectern_close && lectern_put && lectern_get && lectern_stat && lectern_delete && lectern_list);
    MUST(lectern_reader_open && lectern_reader_read && lectern_reader_close);
    MUST(lectern_writer_open && lectern_writer_write && lectern_writer_commit && lectern_writer_abort);
    MUST(lectern_open("there/is/no/such/place", &l) == -ENOENT && l == NULL);
    MUST(lectern_open("/", &l) == -ENOENT && l == NULL);
    MUST(lectern_error(-ENOENT)[0]);
    MUST(dlsym(RTLD_DEFAULT, "lectern_list") != NULL);
    MUST(dlsym(RTLD_DEFAULT, "loop_create") == NULL);
    MUST(dlsym(RTLD_DEFAULT, "client_open") == NULL);
    return 0;
}
