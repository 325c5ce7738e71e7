/* The core as the program under test: its hooks for scheduler and report, and what must be gone at the end of an execution. */
#include <glib.h>
#include <stdio.h>

#include "check/check.h"
#include "check/given.h"
#include "core/aio_context.h"
#include "core/co_sleep.h"
#include "core/core.h"
#include "core/coroutine.h"
#include "core/fatal.h"
#include "core/thread_pool.h"
#include "fuzz/program.h"
#include "os/os.h"
#include "report/report.h"
#include "sched/sched.h"

static void on_fatal(const char *verdict, const char *message)
{
    sched_fail(verdict, "%s", message);
}

static void on_switch(Coroutine *to)
{
    CoroutineInfo info;

    if (!to) {
        sched_stack_switched(NULL, NULL, 0);
        return;
    }
    coroutine_describe(to, &info);
    sched_stack_switched((void *)info.stack_low, (void *)info.stack_high, info.id);
}

/* How often a handler is asked differs from round to round, and one that has had nothing for some rounds is asked no more: no work. */
static void on_polling(bool begins)
{
    if (begins) {
        sched_look_begin();
    } else {
        sched_look_end();
    }
}

/* ---- leaks */

static uint64_t count_fds(void)
{
    return os_fds_left();
}

static void describe_fds(char *text, size_t size)
{
    size_t used = 0;
    char one[128];

    text[0] = '\0';
    for (unsigned i = 0; os_describe_fd_left(i, one, sizeof(one)) >= 0 && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "; " : "", one);
    }
}

static uint64_t count_coroutines(void)
{
    return coroutine_live_count();
}

static uint64_t count_lost_work(void)
{
    return thread_pool_lost_count();
}

/* ---- coroutines, for the report */

typedef struct Visit {
    ReportVisitCoroutine *visit;
    void *opaque;
} Visit;

static void visit_coroutine(const CoroutineInfo *info, void *opaque)
{
    static const char *const states[] = {
        [COROUTINE_NEW] = "not entered yet",
        [COROUTINE_RUNNING] = "running",
        [COROUTINE_ENTERING] = "has entered another coroutine",
        [COROUTINE_SUSPENDED] = "suspended",
    };
    Visit *visit = opaque;
    ReportCoroutine coroutine = {
        .name = info->name,
        .strand = info->id,
        .low = (void *)info->stack_low,
        .high = (void *)info->stack_high,
        .frame = (void *)info->frame_pointer,
        .pc = (void *)info->pc,
        .state = info->scheduled ? info->scheduled : states[info->state],
    };

    if (info->state == COROUTINE_SUSPENDED || info->state == COROUTINE_ENTERING) {
        visit->visit(&coroutine, visit->opaque);
    }
}

static void enumerate_coroutines(ReportVisitCoroutine *visit, void *opaque)
{
    coroutine_foreach(visit_coroutine, &(Visit){ visit, opaque });
}

/* ---- the program */

static void init(void)
{
    report_set_coroutines(enumerate_coroutines);
    core_fatal_hook = on_fatal;
    coroutine_hooks.stack_alloc = sched_stack_alloc;
    coroutine_hooks.switched = on_switch;
    aio_hooks.polling = on_polling;
    co_sleep_hooks = (CoSleepHooks){
        .init = check_place_init,
        .wake = check_wake_given,
        .delivered = check_wake_delivered,
        .begin = check_sleep_begins,
        .end = check_sleep_ended,
    };
    check_leak_register("file descriptor", count_fds, describe_fds);
    check_leak_register("coroutine", count_coroutines, NULL);
    check_leak_register("AIO context", os_aio_contexts_left, NULL);
    check_completion_register("request to a thread pool", count_lost_work, NULL);
    check_completion_register("AIO request", os_aio_events_left, os_describe_aio_events_left);
    check_housekeeping("aio_bh_dequeue"); /* a bottom half that was cancelled stays in its list until the loop looks at it */
    /* Handlers that are deleted are freed by the loop when it gets to it: with the list's lock, of which nobody else is told then. */
    check_housekeeping("qemu_lockcnt_dec_if_lock");
    check_housekeeping("qemu_lockcnt_inc_and_unlock");
    check_housekeeping("change_when_free");
    g_main_context_default(); /* lives as long as the process, so it must not be born in an execution */
}

static void run(FuzzInput *in)
{
    core_init();
    fuzz_target.run(in);
    core_reset();
}

const DriverProgram driver_program = { .init = init, .run = run };
