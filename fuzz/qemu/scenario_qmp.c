/* See scenario_qmp.h. Main thread only. */
#include "fuzz/qemu/scenario_qmp.h"

#include "block/block_int.h"
#include "monitor/monitor-internal.h"
#include "monitor/monitor.h"
#include "qapi/qmp-registry.h"
#if __has_include("qobject/qjson.h")
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#else /* before QEMU 10.0 */
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#endif
#include "storage-daemon/qapi/qapi-commands.h"
#include "storage-daemon/qapi/qapi-init-commands.h"

void scenario_qmp_begin(void)
{
    qmp_init_marshal(&qmp_commands);
    QTAILQ_INIT(&qmp_cap_negotiation_commands);
    qmp_register_command(&qmp_cap_negotiation_commands, "qmp_capabilities", qmp_marshal_qmp_capabilities, QCO_ALLOW_PRECONFIG, 0);
    monitor_init_globals();
}

void scenario_begin_named(Scenario *scenario, unsigned thread_count)
{
    scenario_begin(scenario, 0);
    scenario_qmp_begin();
    for (unsigned i = 0; i < thread_count; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        scenario_qmp_good("{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', 'id': %s}}", name);
        scenario->threads[scenario->thread_count++] = iothread_by_id(name);
    }
}

void scenario_qmp_end(void)
{
    monitor_cleanup();
}

static G_GNUC_PRINTF(1, 0) QDict *answer_to(const char *format, va_list arguments)
{
    QObject *request = qobject_from_vjsonf_nofail(format, arguments);
    QDict *answer = qmp_dispatch(&qmp_commands, request, false, NULL);

    qobject_unref(request);
    return answer;
}

bool scenario_qmp(const char *format, ...)
{
    va_list arguments;
    QDict *answer;
    bool good;

    va_start(arguments, format);
    answer = answer_to(format, arguments);
    va_end(arguments);
    good = !qdict_haskey(answer, "error");
    qobject_unref(answer);
    return good;
}

void scenario_qmp_good(const char *format, ...)
{
    va_list arguments;
    QDict *answer;

    va_start(arguments, format);
    answer = answer_to(format, arguments);
    va_end(arguments);
    if (qdict_haskey(answer, "error")) {
        fuzz_violated("QMP: %s: %s", format, qdict_get_str(qdict_get_qdict(answer, "error"), "desc"));
    }
    qobject_unref(answer);
}

typedef struct Command {
    QObject *request;
    QDict *answer; /* NULL: not yet */
} Command;

static void coroutine_fn command_entry(void *opaque)
{
    Command *command = opaque;

    command->answer = qmp_dispatch(&qmp_commands, command->request, false, NULL);
}

bool scenario_qmp_coroutine(const char *format, ...)
{
    Command command = { 0 };
    va_list arguments;
    bool good;

    va_start(arguments, format);
    command.request = qobject_from_vjsonf_nofail(format, arguments);
    va_end(arguments);
    aio_co_enter(iohandler_get_aio_context(), qemu_coroutine_create(command_entry, &command));
    while (!command.answer) {
        main_loop_wait(false);
    }
    good = !qdict_haskey(command.answer, "error");
    qobject_unref(command.answer);
    qobject_unref(command.request);
    return good;
}

Job *scenario_find_job(const char *id)
{
    Job *job;

    job_lock();
    job = job_get_locked(id);
    job_unlock();
    return job;
}

/* All of them: the scenario's, and those that jobs have put in. */
static size_t count_nodes(void)
{
    QObject *request = qobject_from_jsonf_nofail("{'execute': 'query-named-block-nodes', 'arguments': {'flat': true}}");
    QDict *answer = qmp_dispatch(&qmp_commands, request, false, NULL);
    size_t count = qlist_size(qdict_get_qlist(answer, "return"));

    qobject_unref(answer);
    qobject_unref(request);
    return count;
}

void scenario_add_file(const char *node, const char *file, bool native)
{
    scenario_qmp_good(
        "{'execute': 'blockdev-add', 'arguments': {'driver': 'file', 'node-name': %s, 'filename': %s, 'locking': 'off',"
        "'aio': %s, 'cache': {'direct': %i}}}",
        node, file, native ? "native" : "threads", native);
}

void scenario_delete_nodes(const char *const *nodes)
{
    for (; *nodes; nodes++) {
        BlockDriverState *bs = bdrv_find_node(*nodes);

        if (bs) {
            fuzz_check(bs->quiesce_counter == 0);
            fuzz_check(bs->in_flight == 0);
            scenario_qmp_good("{'execute': 'blockdev-del', 'arguments': {'node-name': %s}}", *nodes);
        }
    }
    fuzz_check(count_nodes() == 0);
}
