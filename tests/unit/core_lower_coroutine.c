/* Coroutines: switching, waking, moving between threads, and what reports read of them. See core_lower_test.c. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/coroutine.h"
#include "core/iothread.h"
#include "core/thread.h"
#include "core_lower.h"

/* ---- coroutines ---- */

static void test_coroutine_yield_and_enter(void)
{
    int steps = 0;
    Coroutine *co = qemu_coroutine_create(yield_twice, &steps);

    g_assert_false(qemu_in_coroutine());
    g_assert_cmpuint(coroutine_live_count(), ==, 1);
    for (int i = 1; i <= 3; i++) {
        g_assert_cmpint(steps, ==, i - 1);
        qemu_coroutine_enter(co);
        g_assert_cmpint(steps, ==, i);
        g_assert_false(qemu_in_coroutine());
    }
    g_assert_cmpuint(coroutine_live_count(), ==, 0);
}

typedef struct SelfTest {
    Coroutine *co, *inner;
    bool inner_ran;
} SelfTest;

static void coroutine_fn inner_entry(void *opaque)
{
    SelfTest *t = opaque;

    g_assert_true(qemu_coroutine_self() == t->inner);
    g_assert_true(qemu_coroutine_entered(t->co));
    g_assert_true(qemu_coroutine_entered(t->inner));
    t->inner_ran = true;
}

static void coroutine_fn outer_entry(void *opaque)
{
    SelfTest *t = opaque;

    g_assert_true(qemu_coroutine_self() == t->co);
    t->inner = qemu_coroutine_create(inner_entry, t);
    qemu_coroutine_enter(t->inner);
    g_assert_true(qemu_coroutine_self() == t->co);
    qemu_coroutine_yield();
}

static void test_coroutine_self_and_entered(void)
{
    Coroutine *thread_self = qemu_coroutine_self();
    SelfTest t = { 0 };

    t.co = qemu_coroutine_create(outer_entry, &t);
    g_assert_false(qemu_coroutine_entered(t.co));
    qemu_coroutine_enter(t.co);
    g_assert_true(t.inner_ran);
    g_assert_false(qemu_coroutine_entered(t.co));
    g_assert_true(qemu_coroutine_self() == thread_self);
    g_assert_true(qemu_coroutine_get_aio_context(t.co) == main_ctx());
    qemu_coroutine_enter(t.co);
}

#define CHAIN_LENGTH 2000

typedef struct Chain {
    Coroutine *links[CHAIN_LENGTH];
    int next, ended;
    int entering_max;
} Chain;

static void count_entering(const CoroutineInfo *info, void *opaque)
{
    *(int *)opaque += info->state == COROUTINE_ENTERING;
}

static void coroutine_fn chain_entry(void *opaque)
{
    Chain *chain = opaque;
    int entering = 0;

    if (chain->next < CHAIN_LENGTH) {
        aio_co_wake(chain->links[chain->next++]); /* this coroutine runs, so the next one waits until it gives way */
    }
    if (chain->next % 100 == 0) {
        coroutine_foreach(count_entering, &entering);
        chain->entering_max = MAX(chain->entering_max, entering);
    }
    chain->ended++;
}

static void coroutine_fn chain_link_entry(void *opaque)
{
    qemu_coroutine_yield(); /* now it has a context, as whoever is woken must */
    chain_entry(opaque);
}

static void test_coroutine_chain_of_wakes_stays_flat(void)
{
    Chain *chain = g_new0(Chain, 1);

    for (int i = 0; i < CHAIN_LENGTH; i++) {
        chain->links[i] = qemu_coroutine_create(chain_link_entry, chain);
        qemu_coroutine_enter(chain->links[i]);
    }
    qemu_coroutine_enter(qemu_coroutine_create(chain_entry, chain));
    g_assert_cmpint(chain->ended, ==, CHAIN_LENGTH + 1);
    g_assert_cmpint(chain->entering_max, ==, 0); /* c40a254570: each would have entered the next */
    g_free(chain);
}

typedef struct WakeOrder {
    Coroutine *co[3];
    GString *log;
} WakeOrder;

static void coroutine_fn wake_order_entry(void *opaque)
{
    WakeOrder *w = opaque;
    Coroutine *self = qemu_coroutine_self();

    qemu_coroutine_yield();
    for (int i = 0; i < 3; i++) {
        if (w->co[i] == self) {
            g_string_append_c(w->log, "012"[i]);
        }
    }
    if (self == w->co[0]) {
        aio_co_wake(w->co[2]);
        g_string_append_c(w->log, '.');
    }
}

static void coroutine_fn wake_order_first(void *opaque)
{
    WakeOrder *w = opaque;

    aio_co_wake(w->co[0]);
    aio_co_wake(w->co[1]);
    g_string_append_c(w->log, '!');
}

static void test_coroutine_wakes_run_depth_first(void)
{
    WakeOrder w = { .log = g_string_new(NULL) };

    for (int i = 0; i < 3; i++) {
        w.co[i] = qemu_coroutine_create(wake_order_entry, &w);
        qemu_coroutine_enter(w.co[i]);
    }
    qemu_coroutine_enter(qemu_coroutine_create(wake_order_first, &w));
    g_assert_cmpstr(w.log->str, ==, "!0.21");
    g_string_free(w.log, TRUE);
}

static void coroutine_fn enter_self_entry(void *opaque)
{
    (void)opaque;
    qemu_coroutine_enter(qemu_coroutine_self());
}

static void test_coroutine_reentry_is_fatal(void)
{
    if (g_test_subprocess()) {
        qemu_coroutine_enter(qemu_coroutine_create(enter_self_entry, NULL));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*panic: double-entry: Co-routine re-entered recursively: coroutine 1 "
                              "(enter_self_entry)*");
}

static void test_coroutine_scheduled_twice_is_fatal(void)
{
    int steps = 0;
    Coroutine *co = qemu_coroutine_create(yield_twice, &steps);

    qemu_coroutine_enter(co);
    aio_co_schedule(main_ctx(), co);
    ASSERT_FATAL("double-entry", aio_co_schedule(main_ctx(), co));
    ASSERT_FATAL("double-entry", qemu_coroutine_enter(co));
    g_assert_true(aio_poll(main_ctx(), true)); /* the first promise is kept all the same */
    g_assert_cmpint(steps, ==, 2);
    qemu_coroutine_enter(co);
}

static void coroutine_fn migrate_entry(void *opaque)
{
    AioContext **contexts = opaque;
    volatile int on_stack = 0;

    for (int i = 0; i < 1000; i++) {
        AioContext *ctx = contexts[i % 3];

        aio_co_reschedule_self(ctx);
        g_assert_true(qemu_get_current_aio_context() == ctx);
        g_assert_true(qemu_coroutine_get_aio_context(qemu_coroutine_self()) == ctx);
        g_assert_true(bql_locked() == (ctx == main_ctx()));
        on_stack++;
    }
    aio_co_reschedule_self(main_ctx());
    g_assert_cmpint(on_stack, ==, 1000);
    contexts[0] = NULL;
}

static void test_coroutine_migrates_between_threads(void)
{
    IOThread *a = iothread_new("a"), *b = iothread_new("b");
    AioContext *contexts[3] = { iothread_get_aio_context(a), iothread_get_aio_context(b), main_ctx() };

    qemu_coroutine_enter(qemu_coroutine_create(migrate_entry, contexts));
    while (contexts[0]) {
        aio_poll(main_ctx(), true);
    }
    iothread_join(a);
    iothread_join(b);
}

typedef struct WakeStress {
    Coroutine *co;
    int woken;
    bool done;
} WakeStress;

static void wake_bh(void *opaque)
{
    aio_co_wake(opaque);
}

static void coroutine_fn wake_stress_entry(void *opaque)
{
    WakeStress *w = opaque;

    for (int i = 0; i < 3000; i++) {
        aio_bh_schedule_oneshot(main_ctx(), wake_bh, qemu_coroutine_self());
        qemu_coroutine_yield(); /* the main thread's wake may come before this */
        w->woken++;
    }
    aio_co_reschedule_self(main_ctx());
    w->done = true;
}

static void enter_bh(void *opaque)
{
    qemu_coroutine_enter(opaque);
}

static void test_coroutine_wake_from_other_thread_waits_for_yield(void)
{
    IOThread *iothread = iothread_new("sleeper");
    WakeStress w = { 0 };

    w.co = qemu_coroutine_create(wake_stress_entry, &w);
    aio_bh_schedule_oneshot(iothread_get_aio_context(iothread), enter_bh, w.co);
    while (!w.done) {
        aio_poll(main_ctx(), true);
    }
    g_assert_cmpint(w.woken, ==, 3000);
    iothread_join(iothread);
}

static void find_newest(const CoroutineInfo *info, void *opaque)
{
    CoroutineInfo *newest = opaque;

    if (!newest->id) {
        *newest = *info;
    }
}

static bool address_is_mapped(const void *address)
{
    int fds[2];
    ssize_t n;

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    n = write(fds[1], address, 1); /* the kernel says EFAULT where we would fault */
    g_assert_true(n == 1 || errno == EFAULT);
    close(fds[0]);
    close(fds[1]);
    return n == 1;
}

static void test_coroutine_stack_has_a_guard_page(void)
{
    int steps = 0;
    CoroutineInfo info = { 0 };
    Coroutine *co = qemu_coroutine_create(yield_twice, &steps);
    const char *low;

    coroutine_foreach(find_newest, &info);
    low = info.stack_low;
    g_assert_cmpuint((size_t)((const char *)info.stack_high - low), ==, COROUTINE_STACK_BYTES);
    g_assert_true(address_is_mapped(low));
    g_assert_false(address_is_mapped(low - 1));
    g_assert_false(address_is_mapped(low - sysconf(_SC_PAGESIZE)));
    for (int i = 0; i < 3; i++) {
        qemu_coroutine_enter(co);
    }
}

static const void *deep_frame;

static __attribute__((noinline)) void coroutine_fn yield_deep(int depth)
{
    if (depth) {
        yield_deep(depth - 1);
    } else {
        deep_frame = __builtin_frame_address(0);
        qemu_coroutine_yield();
    }
    __asm__ volatile("" ::: "memory"); /* not a tail call */
}

static void coroutine_fn deep_entry(void *opaque)
{
    yield_deep(*(int *)opaque);
}

static void test_coroutine_frames_can_be_walked_from_outside(void)
{
    int depth = 5, frames = 0;
    bool found = false;
    CoroutineInfo info;
    Coroutine *co = qemu_coroutine_create(deep_entry, &depth);

    coroutine_describe(co, &info);
    g_assert_cmpint(info.state, ==, COROUTINE_NEW);
    g_assert_cmpstr(info.name, ==, "deep_entry");
    g_assert_null(info.pc);
    qemu_coroutine_enter(co);

    coroutine_describe(co, &info);
    g_assert_cmpint(info.state, ==, COROUTINE_SUSPENDED);
    g_assert_nonnull(info.pc);
    for (void *const *frame = info.frame_pointer; frame; frame = frame[0]) {
        g_assert_true((const void *)frame >= info.stack_low && (const void *)frame < info.stack_high);
        found |= frame == deep_frame;
        frames++;
    }
    g_assert_true(found);
    g_assert_cmpint(frames, >=, depth + 3); /* yield_deep() depth + 1 times, deep_entry(), the switch */
    qemu_coroutine_enter(co);
}

static int hook_created, hook_finished, hook_switched;

static void on_created(Coroutine *co)
{
    (void)co;
    hook_created++;
}

static void on_finished(Coroutine *co)
{
    (void)co;
    hook_finished++;
}

static void on_switched(Coroutine *to)
{
    (void)to;
    hook_switched++;
}

static void test_coroutine_hooks_see_every_switch(void)
{
    int steps = 0;
    Coroutine *co;

    hook_created = hook_finished = hook_switched = 0;
    coroutine_hooks = (CoroutineHooks){ .created = on_created, .finished = on_finished, .switched = on_switched };
    co = qemu_coroutine_create(yield_twice, &steps);
    for (int i = 0; i < 3; i++) {
        qemu_coroutine_enter(co);
    }
    coroutine_hooks = (CoroutineHooks){ 0 };
    g_assert_cmpint(hook_created, ==, 1);
    g_assert_cmpint(hook_finished, ==, 1);
    g_assert_cmpint(hook_switched, ==, 6);
}

static void *stack_of_next_coroutine(void)
{
    int steps = 0;
    CoroutineInfo info;
    Coroutine *co = qemu_coroutine_create(yield_twice, &steps);

    coroutine_describe(co, &info);
    for (int i = 0; i < 3; i++) {
        qemu_coroutine_enter(co);
    }
    return (void *)info.stack_low;
}

static void test_coroutine_stack_is_used_again(void)
{
    void *stack = stack_of_next_coroutine();

    g_assert_true(stack_of_next_coroutine() == stack);
}

static void *coroutines_in_thread(void *opaque)
{
    (void)opaque;
    for (int i = 0; i < 2000; i++) {
        stack_of_next_coroutine();
    }
    return NULL;
}

static void test_coroutine_pool_is_shared_by_threads(void)
{
    QemuThread threads[3];

    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        qemu_thread_create(&threads[i], "coroutines", coroutines_in_thread, NULL, QEMU_THREAD_JOINABLE);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        qemu_thread_join(&threads[i]);
    }
}

const CoreLowerTest core_lower_coroutine_tests[] = {
    { "/coroutine/yield-and-enter", test_coroutine_yield_and_enter },
    { "/coroutine/self-and-entered", test_coroutine_self_and_entered },
    { "/coroutine/chain-of-wakes-stays-flat", test_coroutine_chain_of_wakes_stays_flat },
    { "/coroutine/wakes-run-depth-first", test_coroutine_wakes_run_depth_first },
    { "/coroutine/reentry-is-fatal", test_coroutine_reentry_is_fatal },
    { "/coroutine/scheduled-twice-is-fatal", test_coroutine_scheduled_twice_is_fatal },
    { "/coroutine/migrates-between-threads", test_coroutine_migrates_between_threads },
    { "/coroutine/wake-from-other-thread-waits-for-yield", test_coroutine_wake_from_other_thread_waits_for_yield },
    { "/coroutine/stack-has-a-guard-page", test_coroutine_stack_has_a_guard_page },
    { "/coroutine/frames-can-be-walked-from-outside", test_coroutine_frames_can_be_walked_from_outside },
    { "/coroutine/hooks-see-every-switch", test_coroutine_hooks_see_every_switch },
    { "/coroutine/stack-is-used-again", test_coroutine_stack_is_used_again },
    { "/coroutine/pool-is-shared-by-threads", test_coroutine_pool_is_shared_by_threads },
    { NULL, NULL },
};
