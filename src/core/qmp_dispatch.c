/*
 * See qmp_dispatch.h. The dispatcher's home is iohandler_ctx, which the main thread's nested loops do not poll: while a
 * command waits in the block layer, no other command begins.
 *
 * Invariants
 * 1. The current monitor is set exactly while a command runs, for the coroutine that runs it.
 * 2. The dispatcher is in iohandler_ctx whenever it does not run a coroutine command.
 */
#include "core/qmp_dispatch.h"

#include <string.h>

#include "core/aio_wait.h"
#include "core/fatal.h"
#include "core/main_loop.h"
#include "core/monitor_int.h"

bool qmp_is_oob(JsonObject *request)
{
    return json_object_has_member(request, "exec-oob") && !json_object_has_member(request, "execute");
}

/* ---- the request */

static bool is_string(JsonNode *node)
{
    return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING;
}

/* Returns the error for a member of the request, or NULL. *exec_key: the member that names the command. */
static GError *check_member(const char *name, JsonNode *value, bool allow_oob, const char **exec_key)
{
    if (strcmp(name, "execute") == 0 || (strcmp(name, "exec-oob") == 0 && allow_oob)) {
        if (!is_string(value)) {
            return g_error_new(QMP_ERROR, QMP_ERROR_GENERIC, "QMP input member '%s' must be a string", name);
        }
        if (*exec_key) {
            return g_error_new(QMP_ERROR, QMP_ERROR_GENERIC, "QMP input member '%s' clashes with '%s'", name, *exec_key);
        }
        *exec_key = name;
        return NULL;
    }
    if (strcmp(name, "arguments") == 0) {
        return JSON_NODE_HOLDS_OBJECT(value)
                   ? NULL
                   : g_error_new(QMP_ERROR, QMP_ERROR_GENERIC, "QMP input member 'arguments' must be an object");
    }
    return strcmp(name, "id") == 0 ? NULL
                                   : g_error_new(QMP_ERROR, QMP_ERROR_GENERIC, "QMP input member '%s' is unexpected", name);
}

/* Returns the member that names the command, or NULL and an error. */
static const char *check_request(JsonObject *request, bool allow_oob, GError **error)
{
    const char *exec_key = NULL;
    JsonObjectIter iter;
    const char *name = NULL;
    JsonNode *value = NULL;

    json_object_iter_init(&iter, request);
    while (json_object_iter_next(&iter, &name, &value)) {
        GError *bad = check_member(name, value, allow_oob, &exec_key);

        if (bad) {
            g_propagate_error(error, bad);
            return NULL;
        }
    }
    if (!exec_key) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "QMP input lacks member 'execute'");
    }
    return exec_key;
}

static const QmpCommand *find_command(const QmpCommandList *commands, const char *name, bool oob, GError **error)
{
    for (size_t i = 0; i < commands->count; i++) {
        const QmpCommand *command = &commands->commands[i];

        if (strcmp(command->name, name) != 0) {
            continue;
        }
        if (oob && !(command->options & QCO_ALLOW_OOB)) {
            g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "The command %s does not support OOB", name);
            return NULL;
        }
        return command;
    }
    g_set_error(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND, "The command %s has not been found", name);
    return NULL;
}

/* ---- running it */

/* One command that runs outside the coroutine that waits for it; on the coroutine's stack. */
typedef struct QmpDispatchBH {
    const QmpCommand *command;
    Monitor *cur_mon;
    JsonObject *args;
    JsonNode **ret;
    GError **error;
    Coroutine *co;
} QmpDispatchBH;

static void run_command(const QmpCommand *command, Monitor *cur_mon, JsonObject *args, JsonNode **ret, GError **error)
{
    core_assert(!monitor_cur());
    monitor_set_cur(qemu_coroutine_self(), cur_mon);
    command->fn(args, ret, error);
    monitor_set_cur(qemu_coroutine_self(), NULL);
}

/*
 *     main thread, in monitor_cleanup()               dispatcher (iohandler_ctx)
 *     1                                               queued this BH, busy, yielded
 *     2  polls iohandler_ctx: runs this BH
 *     3  schedules the dispatcher: a new BH, which the poll at hand does not run
 *     4  sleeps in qemu_aio_context, which it is not in
 *
 * Without the kick nothing ends step 4. Fault monitor-cleanup-no-kick, QEMU fc1a2ec7da.
 */
static void do_qmp_dispatch_bh(void *opaque)
{
    QmpDispatchBH *data = opaque;

    run_command(data->command, data->cur_mon, data->args, data->ret, data->error);
    aio_co_wake(data->co);
    aio_wait_kick();
}

static void coroutine_fn move_to(AioContext *ctx)
{
    aio_co_schedule(ctx, qemu_coroutine_self());
    qemu_coroutine_yield();
}

static void run_where_it_belongs(const QmpCommand *command, Monitor *cur_mon, JsonObject *args, JsonNode **ret, GError **error)
{
    if (!qemu_in_coroutine()) {
        core_assert(!(command->options & QCO_COROUTINE));
        run_command(command, cur_mon, args, ret, error);
    } else if (command->options & QCO_COROUTINE) {
        move_to(qemu_get_aio_context()); /* nested loops shall drive it: it may wait for the block layer */
        run_command(command, cur_mon, args, ret, error);
        move_to(iohandler_get_aio_context()); /* and shall begin no other */
    } else {
        QmpDispatchBH data = {
            .command = command,
            .cur_mon = cur_mon,
            .args = args,
            .ret = ret,
            .error = error,
            .co = qemu_coroutine_self(),
        };

        aio_bh_schedule_oneshot(iohandler_get_aio_context(), do_qmp_dispatch_bh, &data);
        aio_wait_kick(); /* for the same reason: the poll that runs this coroutine does not run the new bottom half */
        qemu_coroutine_yield();
    }
}

static JsonNode *dispatch(const QmpCommandList *commands, JsonObject *request, bool allow_oob, Monitor *cur_mon, GError **error)
{
    const char *exec_key = check_request(request, allow_oob, error);
    GError *failure = NULL;
    const QmpCommand *command;
    JsonNode *ret = NULL;
    JsonObject *args;

    if (!exec_key) {
        return NULL;
    }
    command = find_command(commands, json_object_get_string_member(request, exec_key), strcmp(exec_key, "exec-oob") == 0, error);
    if (!command) {
        return NULL;
    }
    args = json_object_has_member(request, "arguments") ? json_object_ref(json_object_get_object_member(request, "arguments"))
                                                        : json_object_new();
    run_where_it_belongs(command, cur_mon, args, &ret, &failure);
    json_object_unref(args);
    if (failure) {
        g_propagate_error(error, failure);
        g_clear_pointer(&ret, json_node_unref);
        return NULL;
    }
    return ret ? ret : qmp_json_object(json_object_new());
}

JsonObject *qmp_dispatch(const QmpCommandList *commands, JsonNode *request, bool allow_oob, Monitor *cur_mon)
{
    JsonObject *object = JSON_NODE_HOLDS_OBJECT(request) ? json_node_get_object(request) : NULL;
    GError *error = NULL;
    JsonObject *response;
    JsonNode *ret = NULL;

    if (object) {
        ret = dispatch(commands, object, allow_oob, cur_mon, &error);
    } else {
        g_set_error(&error, QMP_ERROR, QMP_ERROR_GENERIC, "QMP input must be a JSON object");
    }
    if (error) {
        response = qmp_error_response(error);
    } else {
        response = json_object_new();
        json_object_set_member(response, "return", ret);
    }
    if (object && json_object_has_member(object, "id")) {
        json_object_set_member(response, "id", json_object_dup_member(object, "id"));
    }
    return response;
}
