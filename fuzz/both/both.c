/* See both.h. Compiled with the core and with QEMU. */
#include "fuzz/both/both.h"

#define ROUNDS 6 /* a chain of callbacks, each in another thread, is at most this long */

unsigned both_here(Scenario *scenario)
{
    unsigned index = scenario->thread_count;

    while (index && scenario_context(scenario, index) != qemu_get_current_aio_context()) {
        index--;
    }
    return index;
}

typedef struct Order {
    void (*function)(void *);
    void *opaque;
    QemuMutex lock;
    QemuCond done;
    bool is_done; /* under lock */
} Order;

static void order_bh(void *opaque)
{
    Order *order = opaque;

    order->function(order->opaque);
    qemu_mutex_lock(&order->lock);
    order->is_done = true;
    qemu_cond_signal(&order->done);
    qemu_mutex_unlock(&order->lock);
}

/* A mutex and a condition: nothing that would wake a main thread which another wakeup has missed. */
void both_do_in(Scenario *scenario, unsigned index, void (*function)(void *), void *opaque)
{
    Order order = { .function = function, .opaque = opaque };

    if (index == 0) {
        function(opaque);
        return;
    }
    qemu_mutex_init(&order.lock);
    qemu_cond_init(&order.done);
    aio_bh_schedule_oneshot(scenario_context(scenario, index), order_bh, &order);
    qemu_mutex_lock(&order.lock);
    while (!order.is_done) {
        qemu_cond_wait(&order.done, &order.lock);
    }
    qemu_mutex_unlock(&order.lock);
    qemu_cond_destroy(&order.done);
    qemu_mutex_destroy(&order.lock);
}

static void nothing(void *unused)
{
    (void)unused;
}

void both_settle(Scenario *scenario)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 1; i <= scenario->thread_count; i++) {
            both_do_in(scenario, i, nothing, NULL);
        }
        while (aio_poll(qemu_get_aio_context(), false)) {
        }
    }
}

static void set_flag(void *opaque)
{
    *(bool *)opaque = true;
}

void both_sleep(Scenario *scenario, int64_t ns)
{
    QEMUTimer timer;
    bool over = false;

    aio_timer_init(qemu_get_aio_context(), &timer, QEMU_CLOCK_REALTIME, SCALE_NS, set_flag, &over);
    timer_mod(&timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + ns);
    while (!over) {
        aio_poll(qemu_get_aio_context(), true);
    }
    both_settle(scenario);
}
