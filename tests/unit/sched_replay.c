/*
 * Replay is a property: the same plan gives the same execution, and any execution is a FIFO one with overrides.
 *
 * The programs lock, wait, time out, choose and spin; each ends well under every schedule. What is compared is the trace hash, and
 * a hash of what the program itself saw.
 */
#include "sched/learn.h"
#include "sched/mutate.h"
#include "sched_kit.h"

#define WORKERS 3u

static uint64_t seen; /* hash of the order of what the threads did */

static void see(uint64_t what)
{
    seen = sched_mix64(seen ^ (what << 8 | sched_thread_id(sched_thread_self())));
}

static void run_workers(void *(*function)(void *), unsigned count)
{
    SchedThread *threads[8];

    for (unsigned i = 0; i < count; i++) {
        threads[i] = kit_spawn(function, (void *)(uintptr_t)i);
    }
    for (unsigned i = 0; i < count; i++) {
        see((uintptr_t)kit_join(threads[i]));
    }
}

/* ---- a bounded buffer: one lock, two conditions, atomic counters beside it */

static KitMutex mutex;
static KitCond not_empty, not_full;
static unsigned items;
static int produced, consumed;

static void *produce_or_consume(void *index)
{
    bool producer = (uintptr_t)index % 2 == 0;

    for (unsigned i = 0; i < 3; i++) {
        kit_lock(&mutex);
        while (producer ? items == 2 : items == 0) {
            kit_cond_wait(producer ? &not_full : &not_empty, &mutex, SCHED_FOREVER);
        }
        items += producer ? 1u : -1u;
        see(items);
        kit_cond_signal(producer ? &not_empty : &not_full);
        kit_unlock(&mutex);
        see((uint64_t)qatomic_fetch_inc(producer ? &produced : &consumed));
        see((uint64_t)qatomic_read(&produced));
    }
    return index;
}

static void buffer_body(void *unused)
{
    (void)unused;
    mutex = (KitMutex){ 0 };
    not_empty = not_full = (KitCond){ 0 };
    items = 0;
    produced = consumed = 0;
    run_workers(produce_or_consume, 4);
    g_assert_cmpint(produced, ==, 6);
    g_assert_cmpint(consumed, ==, 6);
}

/* ---- sleeps, time-outs, looks at the clock */

static SchedQueue queue;
static int alarm_flag;

static void *sleep_and_look(void *index)
{
    uint64_t i = (uintptr_t)index;

    kit_sleep_until((i + 1) * KIT_MS);
    see(kit_wait(&queue, SCHED_CALL_POLL, &queue, sched_now_ns() + 2 * KIT_MS));
    see(qatomic_read(&alarm_flag) ? 1 : 2);
    SCHED_POINT(SCHED_CALL_CLOCK, 0);
    see(sched_look_at_clock_ns() / KIT_MS);
    qatomic_set(&alarm_flag, 1);
    sched_queue_wake_chosen(&queue);
    return index;
}

static void timer_body(void *unused)
{
    (void)unused;
    queue = (SchedQueue){ 0 };
    alarm_flag = 0;
    run_workers(sleep_and_look, WORKERS);
}

/* ---- no locks: reads and writes that race, and a loop that gives way */

static int words[4];

static void *race(void *index)
{
    unsigned me = (unsigned)(uintptr_t)index;

    for (unsigned i = 0; i < 4; i++) {
        qatomic_set(&words[me], (int)i);
        see((uint64_t)qatomic_read(&words[(me + 1) % WORKERS]));
        qatomic_add(&words[3], 1);
    }
    while (qatomic_read(&words[3]) < (int)(4 * WORKERS)) {
        kit_yield();
    }
    return index;
}

static void race_body(void *unused)
{
    (void)unused;
    memset(words, 0, sizeof(words));
    run_workers(race, WORKERS);
}

/* ---- threads that create and leave threads */

static void *leaf(void *index)
{
    see((uintptr_t)index);
    qatomic_inc(&words[0]);
#ifndef KIT_TSAN /* where each exit below the function costs a thread of the machine */
    sched_thread_exit(index);
#endif
    return index;
}

static void *fork_twice(void *index)
{
    SchedThread *left = kit_spawn(leaf, index), *right = kit_spawn(leaf, index);

    see((uintptr_t)kit_join(right));
    return kit_join(left);
}

static void tree_body(void *unused)
{
    (void)unused;
    memset(words, 0, sizeof(words));
    run_workers(fork_twice, WORKERS);
    g_assert_cmpint(words[0], ==, 2 * WORKERS);
}

static void (*const bodies[])(void *) = { buffer_body, timer_body, race_body, tree_body };
static const char *const body_names[] = { "buffer", "timer", "race", "tree" };

static const SchedResult *run(unsigned body, const SchedPlan *plan)
{
    seen = 0;
    return kit_run_done(bodies[body], NULL, plan);
}

/* ---- the properties */

typedef struct Shape {
    SchedBase base;
    bool atomics, constraints;
    uint8_t clock_rate;
} Shape;

/* From a plan to the plain one and back: both executions agree in everything that counts. */
static bool check_replay(unsigned body, const SchedPlan *plan)
{
    const SchedResult *result = run(body, plan);
    uint64_t hash = result->trace_hash, steps = result->steps, first_seen = seen, time_ns = result->time_ns;
    SchedPlan pure;
    bool fits;

    result = run(body, plan);
    g_assert_cmphex(result->trace_hash, ==, hash);
    g_assert_cmphex(seen, ==, first_seen);
    fits = kit_pure_plan(result, plan->atomics, &pure);
    if (!fits) {
        return false;
    }
    result = run(body, &pure);
    g_assert_cmphex(result->trace_hash, ==, hash);
    g_assert_cmphex(seen, ==, first_seen);
    g_assert_cmpuint(result->steps, ==, steps);
    g_assert_cmpuint(result->time_ns, ==, time_ns);
    g_assert_cmpuint(result->deviation_count, ==, pure.override_count);
    return true;
}

#ifdef KIT_TSAN
#define SEEDS 10u
#else
#define SEEDS 100u
#endif

/* 100 seeds a shape: a plan goes through the mutator's drawing, so lengths, counts and constraints are real ones. Returns how many
 * executions had few enough deviations for an input. */
static unsigned check_shape(unsigned body, const Shape *shape)
{
    unsigned compared = 0;
    SchedRandom random;

    sched_random_seed(&random, (uint64_t)shape->base << 16 | shape->clock_rate << 8 | body);
    for (unsigned n = 0; n < SEEDS; n++) {
        SchedPlan plan;

        sched_draw_plan(&random, (SchedDraw){ shape->base, shape->constraints }, &plan);
        plan.atomics = shape->atomics;
        plan.clock_rate = shape->clock_rate;
        compared += check_replay(body, &plan);
    }
    return compared;
}

static void test_overrides_replay(void)
{
    const SchedPlan fifo = { .atomics = true };

    for (unsigned body = 0; body < G_N_ELEMENTS(bodies); body++) {
        sched_set_learning(true);
        run(body, &fifo);
        for (SchedBase base = 0; base < SCHED_BASE_COUNT; base++) {
            unsigned compared = 0;

            for (unsigned bits = 0; bits < 12; bits++) {
                const Shape shape = { base, bits & 1, bits & 2, (uint8_t)(bits / 4 * 2) };

                compared += check_shape(body, &shape);
            }
            g_assert_cmpuint(compared, >, SEEDS); /* of 12; URW switches so often that a seventh of its executions fits */
        }
        sched_set_learning(false);
    }
}

/* What was learned must not change an execution: the same plans with learning off and on. */
static void test_learning_changes_nothing(void)
{
    SchedRandom random;

    sched_random_seed(&random, 11);
    for (unsigned n = 0; n < 1000; n++) {
        unsigned body = n % G_N_ELEMENTS(bodies);
        SchedPlan plan;
        uint64_t hash;

        sched_draw_plan(&random, (SchedDraw){ SCHED_BASE_MIXED, true }, &plan);
        hash = run(body, &plan)->trace_hash;
        sched_set_learning(true);
        g_assert_cmphex(run(body, &plan)->trace_hash, ==, hash);
        sched_set_learning(false);
    }
}

/* Different seeds mean different executions: else the two tests above compare nothing. */
static void test_seeds_differ(void)
{
    for (unsigned body = 0; body < G_N_ELEMENTS(bodies); body++) {
        GHashTable *hashes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

        for (uint64_t seed = 0; seed < 200; seed++) {
            const SchedPlan plan = { .base = SCHED_BASE_WALK, .seed = seed, .atomics = true };
            uint64_t hash = run(body, &plan)->trace_hash;

            g_hash_table_add(hashes, g_memdup2(&hash, sizeof(hash)));
        }
        g_assert_cmpuint(g_hash_table_size(hashes), >, 150);
        g_hash_table_unref(hashes);
    }
}

/*
 * These numbers are the same in every build flavour, with each compiler and with address randomization. They change only with the
 * format of the plan, the steps of these programs, or the decisions of a policy: then corpora and crashers become worthless too,
 * so a change of these numbers belongs into the same commit as the reason.
 */
typedef struct FixedHash {
    unsigned body;
    SchedPlan plan;
    uint64_t hash;
} FixedHash;

#define RATE(n) .atomics = true, .seed = 42, .clock_rate = (n), .length = 60, .object = 2, .count_count = 2, .counts = { 20, 9 }

static const FixedHash fixed_hashes[] = {
    { 0, { .base = SCHED_BASE_FIFO }, 0xfb62267c442fb17f },
    { 0, { .base = SCHED_BASE_WALK, RATE(0) }, 0xc26f9ccb7f353cbd },
    { 0, { .base = SCHED_BASE_POS, RATE(1) }, 0x62004cac993ee396 },
    { 0, { .base = SCHED_BASE_URW, RATE(3) }, 0x0b0f92b758c2f797 },
    { 0, { .base = SCHED_BASE_PCT, RATE(0) }, 0x94098dd6167f326e },
    { 0, { .base = SCHED_BASE_SURW, RATE(2) }, 0x6f5182f6246bf0fb },
    { 0, { .base = SCHED_BASE_MIXED, RATE(1) }, 0x7e9933c811dc2af3 },
    { 1, { .base = SCHED_BASE_FIFO }, 0x44cdc893cdc0433b },
    { 1, { .base = SCHED_BASE_WALK, RATE(0) }, 0xca267daa4c3919e5 },
    { 1, { .base = SCHED_BASE_POS, RATE(1) }, 0x103803094c401378 },
    { 1, { .base = SCHED_BASE_URW, RATE(3) }, 0x8bfd89f3a975f5b8 },
    { 1, { .base = SCHED_BASE_PCT, RATE(0) }, 0x7e043852b282ff1b },
    { 1, { .base = SCHED_BASE_SURW, RATE(2) }, 0x8820c57e2eb41915 },
    { 1, { .base = SCHED_BASE_MIXED, RATE(1) }, 0x7cdd8f37a08a50e3 },
    { 2, { .base = SCHED_BASE_FIFO }, 0x1aeb52bb4b8ec394 },
    { 2, { .base = SCHED_BASE_WALK, RATE(0) }, 0x86cba25507886e22 },
    { 2, { .base = SCHED_BASE_POS, RATE(1) }, 0x76afe51c421fa3a1 },
    { 2, { .base = SCHED_BASE_URW, RATE(3) }, 0x2f781751938da796 },
    { 2, { .base = SCHED_BASE_PCT, RATE(0) }, 0x47b5689a23628963 },
    { 2, { .base = SCHED_BASE_SURW, RATE(2) }, 0x00c1491a7c59ecfd },
    { 2, { .base = SCHED_BASE_MIXED, RATE(1) }, 0xe00f99a9af1a3acd },
    { 3, { .base = SCHED_BASE_FIFO }, 0xd91ef9df59044bd2 },
    { 3, { .base = SCHED_BASE_WALK, RATE(0) }, 0xc817a1db452129df },
    { 3, { .base = SCHED_BASE_POS, RATE(1) }, 0xfbee65964f21040b },
    { 3, { .base = SCHED_BASE_URW, RATE(3) }, 0x20fd314ac5e4cd9f },
    { 3, { .base = SCHED_BASE_PCT, RATE(0) }, 0x59bd0c68c66200e3 },
    { 3, { .base = SCHED_BASE_SURW, RATE(2) }, 0x6673b3c011345f82 },
    { 3, { .base = SCHED_BASE_MIXED, RATE(1) }, 0x8a8e9c5c94b067b1 },
};

static void test_fixed_hashes(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(fixed_hashes); i++) {
        const FixedHash *fixed = &fixed_hashes[i];
        uint64_t hash = run(fixed->body, &fixed->plan)->trace_hash;

        g_test_message("%s, base %d: %#" G_GINT64_MODIFIER "x", body_names[fixed->body], fixed->plan.base, hash);
        g_assert_cmphex(hash, ==, fixed->hash);
    }
}

/* Names of sites are part of inputs. */
static void test_fixed_site_name(void)
{
    const SchedPlan plan = { .atomics = true };
    const SchedStep *steps;
    unsigned found = 0;
    size_t count;

    run(2, &plan);
    steps = sched_trace(&count);
    for (size_t i = 0; i < count; i++) {
        if (steps[i].operation == SCHED_STORE) {
            g_assert_cmphex(steps[i].site->id, ==, 0xe9eba213);
            found++;
        }
    }
    g_assert_cmpuint(found, ==, 4 * WORKERS);
}

/* ---- a call from code without frame pointers */

static void *named[2]; /* what the namer was asked for last */

static uint32_t note_addresses(void *const *pcs, unsigned n)
{
    g_assert_cmpuint(n, ==, G_N_ELEMENTS(named));
    memcpy(named, pcs, sizeof(named));
    return 1;
}

/* A stack frame, as code leaves it that uses the frame pointer's register for something else: it points to older words of the stack. */
static void call_with_stale_frame(void *opaque)
{
    void *words[4] = { &words[2], NULL, NULL, (void *)(uintptr_t)memcpy };

    sched_point(SCHED_CALL_READ, 1, opaque, words);
}

/* A shared library's words are not taken for its caller; the executable's are. */
static void test_name_without_frame_pointers(void)
{
    SchedPlan plan = { .constraint_count = 1, .constraints = { { .read_site = 1, .write_site = 2 } } };

    sched_set_namer(note_addresses);
    kit_run_done(call_with_stale_frame, (void *)(uintptr_t)g_malloc, &plan);
    g_assert_true(named[0] == (void *)(uintptr_t)g_malloc);
    g_assert_cmpuint((uintptr_t)named[1], ==, 1);
    kit_run_done(call_with_stale_frame, (void *)(uintptr_t)call_with_stale_frame, &plan);
    g_assert_true(named[0] == (void *)(uintptr_t)call_with_stale_frame);
    g_assert_true(named[1] == (void *)(uintptr_t)memcpy);
    sched_set_namer(NULL);
}

int main(int argc, char **argv)
{
    kit_init(&argc, &argv);
    g_test_add_func("/sched/replay/overrides", test_overrides_replay);
    g_test_add_func("/sched/replay/learning-changes-nothing", test_learning_changes_nothing);
    g_test_add_func("/sched/replay/seeds-differ", test_seeds_differ);
    g_test_add_func("/sched/replay/fixed-hashes", test_fixed_hashes);
    g_test_add_func("/sched/replay/fixed-site-name", test_fixed_site_name);
    g_test_add_func("/sched/replay/name-without-frame-pointers", test_name_without_frame_pointers);
    return g_test_run();
}
