#include "fuzz/scenario.h"

#include <glib.h>

#include "core/block_graph.h"
#include "core/fatal.h"
#include "fuzz/fuzz.h"

typedef struct Started {
    Scenario *scenario;
    bool in_main;
    void (*function)(void *);
    void *opaque;
} Started;

/* What GLib complains of is a mistake of the program's, such as a source that is destroyed twice. */
static void glib_complains(const char *domain, GLogLevelFlags level, const char *message, void *opaque)
{
    if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL)) {
        core_fatal("assertion", "%s: %s", domain ? domain : "GLib", message);
    }
    g_log_default_handler(domain, level, message, opaque);
}

static void __attribute__((constructor)) listen_to_glib(void)
{
    g_log_set_default_handler(glib_complains, NULL);
}

void scenario_begin(Scenario *scenario, unsigned thread_count)
{
    *scenario = (Scenario){ .thread_count = thread_count };
    qemu_mutex_init(&scenario->lock);
    qemu_cond_init(&scenario->ended);
    fuzz_check(qemu_init_main_loop() == 0);
    for (unsigned i = 0; i < thread_count; i++) {
        char name[16];

        g_snprintf(name, sizeof(name), "iothread%u", i);
        scenario->threads[i] = iothread_new(name);
        fuzz_check(scenario->threads[i] != NULL);
    }
}

AioContext *scenario_context(Scenario *scenario, unsigned index)
{
    return index == 0 ? qemu_get_aio_context() : iothread_get_aio_context(scenario->threads[index - 1]);
}

void scenario_enter(Scenario *scenario)
{
    qemu_mutex_lock(&scenario->lock);
    scenario->running++;
    qemu_mutex_unlock(&scenario->lock);
}

void scenario_leave(Scenario *scenario)
{
    qemu_mutex_lock(&scenario->lock);
    scenario->running--;
    qemu_cond_signal(&scenario->ended);
    qemu_mutex_unlock(&scenario->lock);
}

static void coroutine_fn started_entry(void *opaque)
{
    Started started = *(Started *)opaque;
    Scenario *scenario = started.scenario;

    g_free(opaque);
    started.function(started.opaque);
    if (started.in_main) {
        scenario->running_main--;
        return;
    }
    scenario_leave(scenario);
}

void scenario_start(Scenario *scenario, unsigned index, void (*function)(void *), void *opaque)
{
    Started *started = g_new(Started, 1);

    *started = (Started){ .scenario = scenario, .in_main = index == 0, .function = function, .opaque = opaque };
    if (index == 0) {
        scenario->running_main++;
    } else {
        scenario_enter(scenario);
    }
    aio_co_schedule(scenario_context(scenario, index), qemu_coroutine_create(started_entry, started));
}

void scenario_wait(Scenario *scenario)
{
    while (scenario->running_main) {
        aio_poll(qemu_get_aio_context(), true);
    }
    qemu_mutex_lock(&scenario->lock);
    while (scenario->running) {
        qemu_cond_wait(&scenario->ended, &scenario->lock);
    }
    qemu_mutex_unlock(&scenario->lock);
}

void scenario_end(Scenario *scenario)
{
    scenario_wait(scenario);
    for (unsigned i = 0; i < scenario->thread_count; i++) {
        iothread_destroy(scenario->threads[i]);
    }
    while (aio_poll(qemu_get_aio_context(), false)) {
        /* kicks that came after the last wait */
    }
    fuzz_check(global_aio_wait.num_waiters == 0);
    qemu_cleanup_main_loop();
    block_reset();
    qemu_cond_destroy(&scenario->ended);
    qemu_mutex_destroy(&scenario->lock);
}

void coroutine_fn scenario_pause(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}
