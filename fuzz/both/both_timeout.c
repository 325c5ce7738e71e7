/*
 * Target both_timeout: coroutines of two io threads that wait with a limit for others, by qemu_co_timeout(): for such as sleep, wait for somebody,
 * or end at once; the rest is cleaned up when those end too late. Some wait inside of what is waited for.
 *
 * Invariants: what was given up is cleaned up. Noted: how each wait ended and when, in the order of all.
 *
 * The empty scenario is one wait without limit for what ends at once.
 */
#include "fuzz/both/both.h"

#define CALLERS_MAX    2u /* one in a thread */
#define CALLS_MAX      4u
#define OPERATIONS_MAX 8u
#define STEP_NS        (100 * SCALE_MS)

/* So that no sum of up to 23 of these, less 0.37 for each of up to eight limits, comes near a multiple of STEP_NS. */
static const unsigned lengths_us[CALLERS_MAX] = { 22885, 59318 };

typedef struct World World;

typedef struct Call {
    World *world;
    unsigned caller, number;
    uint8_t flags;   /* how long it takes, and what it does */
    uint8_t limit;   /* 0: none */
    Coroutine *gate; /* it waits here */
    bool began, ended;
} Call;

struct World {
    Scenario scenario;
    Call calls[CALLERS_MAX][CALLS_MAX];
    unsigned call_count[CALLERS_MAX], ended_count;
};

static void add(unsigned *number)
{
    __atomic_fetch_add(number, 1, __ATOMIC_SEQ_CST);
}

static int64_t length_ns(const Call *call, unsigned count)
{
    return (int64_t)count * lengths_us[call->caller] * SCALE_US;
}

/* Between two lengths; 0: none. */
static uint64_t limit_ns(const Call *call, unsigned count)
{
    return count ? length_ns(call, 100 * count - 37) / 100 : 0;
}

static void coroutine_fn rest(Call *call, unsigned count)
{
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, length_ns(call, count));
}

static void coroutine_fn inner_entry(void *opaque)
{
    Call *call = opaque;

    rest(call, 2);
    fuzz_note("%u.%u: inside", call->caller, call->number);
}

static void coroutine_fn called_entry(void *opaque)
{
    Call *call = opaque;

    fuzz_note("%u.%u begins in %u", call->caller, call->number, both_here(&call->world->scenario));
    call->began = true;
    switch (call->flags & 3) {
    case 1:
        rest(call, 1 + (call->flags >> 2 & 3));
        break;
    case 2:
        call->gate = qemu_coroutine_self();
        qemu_coroutine_yield();
        break;
    case 3: {
        int result = qemu_co_timeout(inner_entry, call, limit_ns(call, call->flags >> 2 & 3), NULL);

        fuzz_note("%u.%u: inside %d", call->caller, call->number, result);
        rest(call, 3);
        break;
    }
    default:
        break;
    }
    fuzz_note("%u.%u ends", call->caller, call->number);
    call->ended = true;
    add(&call->world->ended_count);
}

static void clean(void *opaque)
{
    Call *call = opaque;

    fuzz_check(call->ended);
    fuzz_note("%u.%u is cleaned up", call->caller, call->number);
}

static void coroutine_fn caller_entry(void *opaque)
{
    Call *calls = opaque;
    World *world = calls->world;

    for (unsigned i = 0; i < world->call_count[calls->caller]; i++) {
        Call *call = &calls[i];
        int result = qemu_co_timeout(called_entry, call, limit_ns(call, call->limit), call->flags & 64 ? clean : NULL);

        fuzz_check(call->began && (result == 0 ? call->ended : result == -ETIMEDOUT));
        fuzz_note("%u.%u: %d", call->caller, call->number, result);
    }
}

static void let_on(Call *call)
{
    Coroutine *co = call->gate;

    call->gate = NULL;
    if (co) {
        aio_co_wake(co);
    }
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned count = 1 + fuzz_choice(in, CALLERS_MAX), wanted = 0;
    unsigned operation_count = fuzz_choice(in, OPERATIONS_MAX);

    scenario_begin(&world.scenario, BOTH_THREADS);
    for (unsigned i = 0; i < count; i++) {
        world.call_count[i] = 1 + fuzz_choice(in, CALLS_MAX);
        wanted += world.call_count[i];
        for (unsigned k = 0; k < world.call_count[i]; k++) {
            Call *call = &world.calls[i][k];

            *call = (Call){ .world = &world, .caller = i, .number = k, .flags = fuzz_byte(in) };
            call->limit = call->flags >> 4 & 3;
        }
        scenario_start(&world.scenario, 1 + i % BOTH_THREADS, caller_entry, world.calls[i]);
    }
    both_settle(&world.scenario);
    for (unsigned i = 0; i < operation_count || world.ended_count < wanted; i++) {
        if (i < operation_count) {
            uint8_t what = fuzz_byte(in);

            let_on(&world.calls[what % CALLERS_MAX][what / CALLERS_MAX % CALLS_MAX]);
        } else {
            for (unsigned k = 0; k < CALLERS_MAX * CALLS_MAX; k++) {
                let_on(&world.calls[k % CALLERS_MAX][k / CALLERS_MAX]);
            }
        }
        both_sleep(&world.scenario, STEP_NS);
        fuzz_note("%u ended", world.ended_count);
    }
    scenario_end(&world.scenario);
}

const FuzzTarget fuzz_target = { .name = "both_timeout", .run = run };
