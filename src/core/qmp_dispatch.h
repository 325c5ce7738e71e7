/*
 * Running one QMP command: check the request, find the command, run it where it belongs, make the reply.
 *
 *   kind of command     runs
 *   ordinary            in the main thread, outside coroutines: from a bottom half in iohandler_ctx, for which the
 *                       dispatcher yields
 *   QCO_COROUTINE       in the dispatcher coroutine, which moves to qemu_aio_context for it and back afterwards
 *   QCO_ALLOW_OOB       also in the thread that read it, at once, when sent as "exec-oob"
 *
 * From QEMU: include/qapi/qmp/dispatch.h, qapi/qmp-dispatch.c.
 */
#ifndef WAKEFUZZ_CORE_QMP_DISPATCH_H
#define WAKEFUZZ_CORE_QMP_DISPATCH_H

#include <stddef.h>

#include "core/coroutine.h"
#include "core/monitor.h"
#include "core/qmp_json.h"

typedef enum QmpCommandOptions {
    QCO_NO_OPTIONS = 0,
    QCO_ALLOW_OOB = 1 << 0,
    QCO_COROUTINE = 1 << 1,
} QmpCommandOptions;

/* args: never NULL. Sets *ret, or *error, or neither: then the reply is an empty object. */
typedef void QmpCommandFunc(JsonObject *args, JsonNode **ret, GError **error);

typedef struct QmpCommand {
    const char *name;
    QmpCommandFunc *fn;
    QmpCommandOptions options;
} QmpCommand;

typedef struct QmpCommandList {
    const QmpCommand *commands;
    size_t count;
} QmpCommandList;

/* Does the object look like a command to be run out of band? Any thread. */
bool qmp_is_oob(JsonObject *request);
/*
 * Run the request, any JSON value, and return the reply. In the dispatcher coroutine, which yields meanwhile; for an
 * out-of-band command outside coroutines, in any thread.
 */
JsonObject *qmp_dispatch(const QmpCommandList *commands, JsonNode *request, bool allow_oob, Monitor *cur_mon);

#endif
