/*
 * The commands: a few of each kind, with QMP's names where QMP has them.
 *
 * Threads: see the table in qmp_dispatch.h. monitor_cur() is the monitor that the command came from.
 */
#include <string.h>

#include "core/atomic.h"
#include "core/co_sleep.h"
#include "core/main_loop.h"
#include "core/monitor_int.h"
#include "core/qmp_arguments.h"
#include "core/qmp_block_commands.h"
#include "core/runstate.h"

#define SLEEP_MS_MAX 10000

static int migration_active; /* atomic: migrate-pause runs in mon_iothread */

/* ---- negotiation ---- */

/* Returns whether the monitor offers all of them; then they are on. */
static bool qmp_caps_accept(MonitorQMP *mon, JsonArray *enable, GError **error)
{
    bool oob = false;

    for (guint i = 0; enable && i < json_array_get_length(enable); i++) {
        const char *name = json_array_get_string_element(enable, i);

        if (strcmp(name, "oob") != 0) {
            g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Capability %s not available", name);
            return false;
        }
        oob = true;
    }
    qatomic_set(&mon->capab[QMP_CAPABILITY_OOB], oob);
    return true;
}

static void qmp_qmp_capabilities(JsonObject *args, JsonNode **ret, GError **error)
{
    static const QmpArgument accepted[] = { { .name = "enable", .type = QMP_STRINGS }, { 0 } };
    MonitorQMP *mon = (MonitorQMP *)monitor_cur();
    JsonArray *enable;

    (void)ret;
    if (qatomic_read(&mon->commands) == &qmp_commands) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
                    "Capabilities negotiation is already complete, command ignored");
        return;
    }
    if (!qmp_check_arguments(args, accepted, error)) {
        return;
    }
    enable = json_object_has_member(args, "enable") ? json_object_get_array_member(args, "enable") : NULL;
    if (qmp_caps_accept(mon, enable, error)) {
        qatomic_set(&mon->commands, &qmp_commands);
    }
}

/* ---- ordinary commands: main thread, outside coroutines ---- */

static void qmp_query_commands(JsonObject *args, JsonNode **ret, GError **error)
{
    MonitorQMP *mon = (MonitorQMP *)monitor_cur();
    const QmpCommandList *list = qatomic_read(&mon->commands);
    JsonArray *array;

    if (!qmp_check_arguments(args, NULL, error)) {
        return;
    }
    array = json_array_new();
    for (size_t i = 0; i < list->count; i++) {
        JsonObject *info = json_object_new();

        json_object_set_string_member(info, "name", list->commands[i].name);
        json_array_add_object_element(array, info);
    }
    *ret = json_node_init_array(json_node_alloc(), array);
    json_array_unref(array);
}

static void qmp_query_status(JsonObject *args, JsonNode **ret, GError **error)
{
    JsonObject *info;

    if (!qmp_check_arguments(args, NULL, error)) {
        return;
    }
    info = json_object_new();
    json_object_set_boolean_member(info, "running", runstate_is_running());
    json_object_set_string_member(info, "status", runstate_is_running() ? "running" : "paused");
    *ret = qmp_json_object(info);
}

static void qmp_stop(JsonObject *args, JsonNode **ret, GError **error)
{
    (void)ret;
    if (qmp_check_arguments(args, NULL, error)) {
        vm_stop();
    }
}

static void qmp_cont(JsonObject *args, JsonNode **ret, GError **error)
{
    (void)ret;
    if (!qmp_check_arguments(args, NULL, error)) {
        return;
    }
    if (runstate_get() == RUN_STATE_SHUTDOWN) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Resetting the Virtual Machine is required");
        return;
    }
    vm_start();
}

static void qmp_migrate(JsonObject *args, JsonNode **ret, GError **error)
{
    (void)ret;
    if (!qmp_check_arguments(args, NULL, error)) {
        return;
    }
    if (qatomic_xchg(&migration_active, 1)) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "There's a migration process in progress");
    }
}

static void qmp_quit(JsonObject *args, JsonNode **ret, GError **error)
{
    (void)ret;
    if (qmp_check_arguments(args, NULL, error)) {
        qemu_system_shutdown_request();
    }
}

/* ---- coroutine commands ---- */

/* Gives way for a while, as block_resize and others do. */
static void coroutine_fn qmp_x_sleep(JsonObject *args, JsonNode **ret, GError **error)
{
    static const QmpArgument accepted[] = { { .name = "ms", .type = QMP_INTEGER }, { 0 } };
    int64_t ms;

    (void)ret;
    if (!qmp_check_arguments(args, accepted, error)) {
        return;
    }
    ms = json_object_has_member(args, "ms") ? json_object_get_int_member(args, "ms") : 0;
    if (ms < 0 || ms > SLEEP_MS_MAX) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Parameter 'ms' expects a value from 0 to %d", SLEEP_MS_MAX);
        return;
    }
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, ms * SCALE_MS);
}

/* ---- commands that may come out of band: any thread ---- */

static void qmp_migrate_pause(JsonObject *args, JsonNode **ret, GError **error)
{
    (void)ret;
    if (!qmp_check_arguments(args, NULL, error)) {
        return;
    }
    if (!qatomic_xchg(&migration_active, 0)) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "There's no migration in progress");
    }
}

/* ---- tables ---- */

static const QmpCommand commands[] = {
    { "qmp_capabilities", qmp_qmp_capabilities, QCO_NO_OPTIONS },
    { "query-commands", qmp_query_commands, QCO_NO_OPTIONS },
    { "query-status", qmp_query_status, QCO_NO_OPTIONS },
    { "stop", qmp_stop, QCO_NO_OPTIONS },
    { "cont", qmp_cont, QCO_NO_OPTIONS },
    { "migrate", qmp_migrate, QCO_NO_OPTIONS },
    { "migrate-pause", qmp_migrate_pause, QCO_ALLOW_OOB },
    { "job-cancel", qmp_job_cancel, QCO_NO_OPTIONS },
    { "block-export-del", qmp_block_export_del, QCO_NO_OPTIONS },
    { "x-sleep", qmp_x_sleep, QCO_COROUTINE },
    { "quit", qmp_quit, QCO_NO_OPTIONS },
};

const QmpCommandList qmp_commands = { commands, G_N_ELEMENTS(commands) };
const QmpCommandList qmp_cap_negotiation_commands = { commands, 1 };

void qmp_commands_init(void)
{
    migration_active = 0;
}
