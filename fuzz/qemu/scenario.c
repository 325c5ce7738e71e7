#include "fuzz/qemu/scenario.h"

#include "crypto/init.h"
#include "qemu/module.h"

typedef struct Started {
    Scenario *scenario;
    void (*function)(void *);
    void *opaque;
} Started;

void scenario_init_qemu(void)
{
    module_call_init(MODULE_INIT_QOM);
    module_call_init(MODULE_INIT_TRACE);
    qcrypto_init(&error_fatal);
    bdrv_init();
}

void scenario_begin(Scenario *scenario, unsigned thread_count)
{
    *scenario = (Scenario){ .thread_count = thread_count };
    qemu_mutex_init(&scenario->lock);
    qemu_cond_init(&scenario->ended);
    for (unsigned i = 0; i < thread_count; i++) {
        g_autofree char *name = g_strdup_printf("iothread%u", i);

        scenario->threads[i] = iothread_create(name, &error_fatal);
    }
}

AioContext *scenario_context(Scenario *scenario, unsigned index)
{
    return index == 0 ? qemu_get_aio_context() : iothread_get_aio_context(scenario->threads[index - 1]);
}

static void coroutine_fn started_entry(void *opaque)
{
    Started started = *(Started *)opaque;

    g_free(opaque);
    started.function(started.opaque);
    qemu_mutex_lock(&started.scenario->lock);
    started.scenario->running--;
    qemu_cond_signal(&started.scenario->ended);
    qemu_mutex_unlock(&started.scenario->lock);
}

void scenario_start(Scenario *scenario, unsigned index, void (*function)(void *), void *opaque)
{
    Started *started = g_new(Started, 1);

    *started = (Started){ scenario, function, opaque };
    qemu_mutex_lock(&scenario->lock);
    scenario->running++;
    qemu_mutex_unlock(&scenario->lock);
    aio_co_schedule(scenario_context(scenario, index), qemu_coroutine_create(started_entry, started));
}

void scenario_wait(Scenario *scenario)
{
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
    qemu_cond_destroy(&scenario->ended);
    qemu_mutex_destroy(&scenario->lock);
}

void coroutine_fn scenario_pause(void)
{
    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
}

BlockDriverState *scenario_open_null(const char *name, int64_t bytes, int64_t latency_ns)
{
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "null-co");
    qdict_put_str(options, "node-name", name);
    qdict_put_int(options, "size", bytes);
    qdict_put_bool(options, "read-zeroes", true);
    qdict_put_int(options, "latency-ns", latency_ns);
    return bdrv_open(NULL, NULL, options, BDRV_O_RDWR, &error_fatal);
}

BlockBackend *scenario_new_backend(Scenario *scenario, unsigned index, BlockDriverState *medium)
{
    BlockBackend *blk = blk_new(scenario_context(scenario, index), BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE, BLK_PERM_ALL);

    blk_set_allow_aio_context_change(blk, true);
    blk_insert_bs(blk, medium, &error_fatal);
    return blk;
}

bool scenario_read_all(int fd, void *buffer, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t result = read(fd, (char *)buffer + done, bytes - done);

        if (result <= 0) {
            return false;
        }
        done += result;
    }
    return true;
}
