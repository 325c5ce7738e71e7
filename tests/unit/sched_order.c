/*
 * Who runs when nobody says anything else: first in, first out; and what one override changes about it.
 *
 * 1. The log holds one number a visit, so that a test compares whole orders and not counts.
 */
#include "sched_kit.h"

#define LOG_MAX 256u

static unsigned log_length, log_visits[LOG_MAX];

static void visit(void)
{
    g_assert_cmpuint(log_length, <, LOG_MAX);
    log_visits[log_length++] = sched_thread_id(sched_thread_self());
}

#define assert_log(...)                                                                           \
    do {                                                                                          \
        const unsigned expected_[] = { __VA_ARGS__ };                                             \
        g_assert_cmpmem(log_visits, log_length * sizeof(unsigned), expected_, sizeof(expected_)); \
    } while (0)

static int object;

static void *two_visits(void *unused)
{
    (void)unused;
    visit();
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    qatomic_set(&object, 1);
    visit();
    return NULL;
}

static void start_three(void *function)
{
    SchedThread *threads[3];

    log_length = 0;
    for (unsigned i = 0; i < 3; i++) {
        threads[i] = kit_spawn((void *(*)(void *))function, NULL);
        visit();
    }
    for (unsigned i = 0; i < 3; i++) {
        kit_join(threads[i]);
    }
    visit();
}

/* The running thread keeps running; when it blocks, the one that has waited longest goes on. Main joins thread 1 first, is woken by
 * its end, and then comes after 2 and 3, which have waited longer. */
static void test_fifo(void)
{
    for (unsigned atomics = 0; atomics < 2; atomics++) {
        const SchedPlan plan = { .atomics = atomics };
        const SchedResult *result = kit_run_done(start_three, two_visits, &plan);

        assert_log(0, 0, 0, 1, 1, 2, 2, 3, 3, 0);
        g_assert_cmpuint(result->preemptions, ==, 0);
        g_assert_cmpuint(result->deviation_count, ==, 0);
        g_assert_cmpuint(result->threads, ==, 4);
        g_assert_cmpuint(result->threads_left, ==, 0);
    }
}

static void *visits_and_yields(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 3; i++) {
        visit();
        kit_yield();
    }
    return NULL;
}

static void test_yield_goes_to_the_back(void)
{
    const SchedPlan plan = { 0 };

    kit_run_done(start_three, visits_and_yields, &plan);
    assert_log(0, 0, 0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 0);
}

/* Main's decisions: 0 at the creation of thread 2 (before, nobody else exists), 1 at that of thread 3, 2 and on at the joins. */
static void test_override_is_one_preemption(void)
{
    SchedPlan plan = { .override_count = 1 };
    const SchedResult *result;

    plan.overrides[0] = (SchedOverride){ .thread = 0, .decision = 1, .choice = 1 + 1 };
    result = kit_run_done(start_three, two_visits, &plan);
    assert_log(0, 0, 1, 1, 2, 2, 0, 3, 3, 0);
    g_assert_cmpuint(result->preemptions, ==, 1);
    g_assert_cmpuint(result->deviation_count, ==, 1);
    g_assert_cmpmem(&result->deviations[0], sizeof(SchedOverride), &plan.overrides[0], sizeof(SchedOverride));
}

/* Threads that do not exist, cannot run or have no such decision: the execution is the FIFO one, to the last step. */
static void test_override_that_matches_nothing(void)
{
    static const SchedOverride nothing[] = {
        { .thread = 0, .decision = 1, .choice = 3 + 1 }, /* not created yet */
        { .thread = 0, .decision = 1, .choice = 900 }, /* never created */
        { .thread = 0, .decision = 1, .choice = SCHED_CHOICE_CLOCK }, /* no timer is armed */
        { .thread = 0, .decision = 5000, .choice = 1 },
        { .thread = 77, .decision = 0, .choice = 1 },
    };
    SchedPlan plan = { 0 };
    uint64_t fifo = kit_run_done(start_three, two_visits, &plan)->trace_hash;

    for (unsigned i = 0; i < G_N_ELEMENTS(nothing); i++) {
        plan.override_count = 1;
        plan.overrides[0] = nothing[i];
        g_assert_cmphex(kit_run_done(start_three, two_visits, &plan)->trace_hash, ==, fifo);
    }
}

/* ---- waking */

static SchedQueue queue;
static unsigned waiting;
static bool wake_all;

static void *wait_then_visit(void *unused)
{
    (void)unused;
    waiting++;
    SCHED_POINT(SCHED_CALL_COND_WAIT, &queue);
    kit_wait(&queue, SCHED_CALL_COND_WAIT, &queue, SCHED_FOREVER);
    visit();
    return NULL;
}

static void wake_body(void *unused)
{
    SchedThread *threads[4];

    (void)unused;
    log_length = waiting = 0;
    queue = (SchedQueue){ 0 };
    for (unsigned i = 0; i < 4; i++) {
        threads[i] = kit_spawn(wait_then_visit, NULL);
    }
    while (sched_queue_length(&queue) < 4) {
        kit_yield();
    }
    if (wake_all) {
        g_assert_cmpuint(sched_queue_wake_all(&queue), ==, 4);
    } else {
        while (sched_queue_wake_chosen(&queue)) {
            continue;
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        kit_join(threads[i]);
    }
}

static void test_wake_order(void)
{
    const SchedPlan plan = { 0 };

    for (wake_all = false;; wake_all = true) {
        kit_run_done(wake_body, NULL, &plan);
        assert_log(1, 2, 3, 4);
        if (wake_all) {
            break;
        }
    }
}

/* Main's choice among the four sleepers is a decision like any other; its number is found by trying all. */
static void test_override_of_a_choice(void)
{
    bool found = false;

    wake_all = false;
    for (uint16_t decision = 0; decision < 40; decision++) {
        SchedPlan plan = { .override_count = 1 };

        plan.overrides[0] = (SchedOverride){ .thread = 0, .decision = decision, .choice = 2 };
        kit_run_done(wake_body, NULL, &plan);
        if (log_visits[0] == 3) {
            assert_log(3, 1, 2, 4);
            found = true;
        }
    }
    g_assert_true(found);
}

static unsigned chosen[5];

static void choose_body(void *unused)
{
    (void)unused;
    g_assert_cmpuint(sched_choose(1), ==, 0);
    chosen[sched_choose(5)]++;
}

/* 2,000 draws of 5: 400 each, standard deviation 18; 300 is beyond five of them. FIFO always takes 0. */
static void test_choose(void)
{
    SchedPlan plan = { .base = SCHED_BASE_WALK };

    memset(chosen, 0, sizeof(chosen));
    for (plan.seed = 0; plan.seed < 2000; plan.seed++) {
        kit_run_done(choose_body, NULL, &plan);
    }
    for (unsigned i = 0; i < 5; i++) {
        g_assert_cmpuint(chosen[i], >, 300);
    }
    plan = (SchedPlan){ .seed = 1 };
    memset(chosen, 0, sizeof(chosen));
    for (; plan.seed < 100; plan.seed++) {
        kit_run_done(choose_body, NULL, &plan);
    }
    g_assert_cmpuint(chosen[0], ==, 99);
}

/* Mutual exclusion is the kit's; that a waiter gets in after all is the scheduler's. */
static KitMutex mutex;
static unsigned inside, entries;

static void *enter(void *unused)
{
    (void)unused;
    kit_lock(&mutex);
    g_assert_cmpuint(inside++, ==, 0);
    SCHED_POINT(SCHED_CALL_OTHER, &object);
    g_assert_cmpuint(--inside, ==, 0);
    entries++;
    kit_unlock(&mutex);
    return NULL;
}

static void lock_body(void *unused)
{
    mutex = (KitMutex){ 0 };
    inside = entries = 0;
    (void)unused;
    start_three(enter);
}

static void test_every_base_ends(void)
{
    for (SchedBase base = 0; base < SCHED_BASE_COUNT; base++) {
        for (uint64_t seed = 0; seed < 300; seed++) {
            const SchedPlan plan = { .base = base, .seed = seed, .atomics = seed & 1, .parameter = (uint8_t)seed, .length = 40 };

            kit_run_done(lock_body, NULL, &plan);
            g_assert_cmpuint(entries, ==, 3);
        }
    }
}

/* Every base but FIFO reaches each of the 3! orders in which three threads pass a lock. */
static void test_every_base_reaches_every_order(void)
{
    for (SchedBase base = SCHED_BASE_WALK; base < SCHED_BASE_COUNT; base++) {
        unsigned seen = 0;

        for (uint64_t seed = 0; seed < 2000 && seen != 0x3f; seed++) {
            const SchedPlan plan = { .base = base, .seed = seed, .parameter = (uint8_t)seed, .length = 20, .object = 1 };
            unsigned order[3], count = 0;

            kit_run_done(start_three, two_visits, &plan);
            for (unsigned i = 0; i < log_length; i++) {
                bool first = log_visits[i] != 0;

                for (unsigned j = 0; j < i; j++) {
                    first &= log_visits[j] != log_visits[i];
                }
                if (first) {
                    order[count++] = log_visits[i];
                }
            }
            g_assert_cmpuint(count, ==, 3);
            seen |= 1u << (2 * (order[0] - 1) + (order[1] > order[2]));
        }
        g_assert_cmphex(seen, ==, 0x3f);
    }
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    g_test_add_func("/sched/order/fifo", test_fifo);
    g_test_add_func("/sched/order/yield-goes-to-the-back", test_yield_goes_to_the_back);
    g_test_add_func("/sched/order/override-is-one-preemption", test_override_is_one_preemption);
    g_test_add_func("/sched/order/override-that-matches-nothing", test_override_that_matches_nothing);
    g_test_add_func("/sched/order/wake", test_wake_order);
    g_test_add_func("/sched/order/override-of-a-choice", test_override_of_a_choice);
    g_test_add_func("/sched/order/choose", test_choose);
    g_test_add_func("/sched/order/every-base-ends", test_every_base_ends);
    g_test_add_func("/sched/order/every-base-reaches-every-order", test_every_base_reaches_every_order);
    return g_test_run();
}
