/* rpc - names of the message types, for logs and errors. */
#include "common/rpc.h"

const char *rpc_type_name(enum rpc_type t)
{
    switch (t) {
#define RPC(id, number, message)                                                                                       \
    case RPC_##id:                                                                                                     \
        return #message;
#include "common/rpc.def"
#undef RPC
    default:
        return "unknown";
    }
}
