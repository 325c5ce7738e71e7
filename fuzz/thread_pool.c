/*
 * Target thread_pool: the main thread, and coroutines of an io thread, let workers run calls for them, each with the pool of its own
 * context; requests are cancelled, callbacks submit more or poll for other requests, limits change, idle workers leave, and the pools
 * are freed with what workers there are.
 *
 * Invariants: each request is called back once, and then a worker has run it once or it was cancelled and none has; no more workers are at work
 * than the limit allows; as many stay as are to stay, and no other one comes while one has nothing to do; the pools go without delay.
 *
 * The empty scenario is two requests; the work of the second gives way once, and its callback polls until the first has been called
 * back too.
 */
#include <glib.h>
#include <errno.h>
#include <sched.h>

#include "core/thread_pool.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define REQUESTS_MAX 12u

/* Longer than idle workers stay. Real time is not spent on it, and tells nothing of them. */
#ifdef WAKEFUZZ_SIMULATED
#define TIMED   true
#define IDLE_US ((THREAD_POOL_IDLE_MS + 1000) * 1000ul)
#else
#define TIMED   false
#define IDLE_US 1000ul
#endif
#define PROMPT_NS (THREAD_POOL_IDLE_MS / 2 * 1000000ull)

struct World;

typedef struct Request {
    struct World *world;
    BlockAIOCB *acb;
    bool polls, submits; /* what its callback does */
    bool yields, sleeps; /* what its work does */
    bool forgotten;      /* it has no callback, and we a reference; counts as done at once */
    bool done;           /* its callback has begun; main thread */
    int ran;             /* raw atomics: no points, no part of the program */
} Request;

typedef struct Client {
    struct World *world;
    unsigned rounds;
    int max_threads; /* 0: leaves it as it is */
    int ran;
} Client;

typedef struct World {
    Scenario scenario;
    Request requests[REQUESTS_MAX];
    unsigned request_count, done_count, forgotten_count;
    int max_threads;
    int at_work, work_limit; /* raw: workers that run work(), and as many as there may be */
    Client clients[2];
} World;

/* ---- in a worker */

static int work(void *opaque)
{
    Request *request = opaque;
    World *world = request->world;

    scenario_add(&world->at_work, 1);
    fuzz_check(scenario_get(&world->at_work) <= scenario_get(&world->work_limit));
    if (request->yields) {
        sched_yield();
    }
    if (request->sleeps) {
        g_usleep(1000);
    }
    __atomic_fetch_add(&request->ran, 1, __ATOMIC_SEQ_CST);
    scenario_add(&world->at_work, -1);
    return 7;
}

static int client_work(void *opaque)
{
    __atomic_fetch_add((int *)opaque, 1, __ATOMIC_SEQ_CST);
    return -EIO;
}

/* ---- in the main thread */

static void submit(World *world, uint8_t flags);

static void request_done(void *opaque, int ret)
{
    Request *request = opaque;
    World *world = request->world;
    unsigned before = world->done_count;

    fuzz_check(!request->done);
    fuzz_check(ret == 7 || ret == -ECANCELED);
    fuzz_check(__atomic_load_n(&request->ran, __ATOMIC_SEQ_CST) == (ret == 7));
    request->done = true;
    world->done_count++;
    if (request->submits) {
        fuzz_reached("callback-submits");
        submit(world, 1);
    }
    if (request->polls && request > world->requests && !request[-1].done) {
        fuzz_reached("callback-polls-for-another");
        while (!request[-1].done) {
            aio_poll(qemu_get_aio_context(), true);
        }
    }
    if (world->done_count > before + 2) {
        fuzz_reached("several-done-inside-a-callback");
    }
}

static void submit(World *world, uint8_t flags)
{
    Request *request = &world->requests[world->request_count];

    if (world->request_count == REQUESTS_MAX) {
        return;
    }
    *request = (Request){
        .world = world,
        .polls = !(flags & 1),
        .submits = flags & 2,
        .yields = flags & 4,
        .sleeps = flags & 8,
        .forgotten = flags & 16,
        .done = flags & 16,
    };
    world->request_count++;
    request->acb = thread_pool_submit_aio(work, request, request->forgotten ? NULL : request_done, request);
    if (request->forgotten) {
        fuzz_reached("nobody-waits-for-the-request");
        qemu_aio_ref(request->acb);
        world->forgotten_count++;
        world->done_count++;
    }
    if ((int)(world->request_count - world->done_count) > world->max_threads) {
        fuzz_reached("more-requests-than-workers");
    }
}

/* The request's own reference goes when it is through. */
static void remember(World *world, Request *request)
{
    while (request->acb->refcnt > 1) {
        aio_poll(qemu_get_aio_context(), true);
    }
    fuzz_check(scenario_get(&request->ran) == 1);
    qemu_aio_unref(request->acb);
    request->forgotten = false;
    world->forgotten_count--;
}

static void wait_for_all(World *world)
{
    while (world->done_count < world->request_count) {
        aio_poll(qemu_get_aio_context(), true);
    }
    for (unsigned i = 0; i < world->request_count; i++) {
        if (world->requests[i].forgotten) {
            remember(world, &world->requests[i]);
        }
    }
}

static void op_submit(World *world, uint8_t argument)
{
    submit(world, argument);
}

static void op_poll(World *world, uint8_t argument)
{
    (void)world;
    (void)argument;
    aio_poll(qemu_get_aio_context(), false);
}

/* The request is named while its callback has not begun. */
static void op_cancel(World *world, uint8_t argument)
{
    Request *request = &world->requests[argument % world->request_count];

    if (request->done) {
        return;
    }
    if (argument & 128) {
        bdrv_aio_cancel(request->acb);
        fuzz_check(request->done);
    } else {
        bdrv_aio_cancel_async(request->acb);
    }
    fuzz_reached(__atomic_load_n(&request->ran, __ATOMIC_SEQ_CST) ? "cancelled-too-late" : "cancelled-before-it-has-run");
}

/* Workers that have begun when the limit becomes lower go on. */
static void op_limit(World *world, uint8_t argument)
{
    bool idle = world->done_count == world->request_count && world->forgotten_count == 0;

    world->max_threads = 1 + argument % 3;
    scenario_set(&world->work_limit, MAX(world->work_limit, world->max_threads));
    aio_context_set_thread_pool_params(qemu_get_aio_context(), 0, world->max_threads);
    if (idle) {
        scenario_set(&world->work_limit, world->max_threads);
    }
}

static void op_wait(World *world, uint8_t argument)
{
    (void)argument;
    wait_for_all(world);
}

/* The next request needs a new worker. They leave one by one: who goes signals, and whoever that wakes stays as long once more. */
static void op_idle(World *world, uint8_t argument)
{
    ThreadPoolAio *pool = aio_get_thread_pool(qemu_get_aio_context());
    unsigned workers;

    (void)argument;
    wait_for_all(world);
    workers = thread_pool_worker_count(pool);
    for (unsigned i = 0; i < workers; i++) {
        g_usleep(IDLE_US);
    }
    if (workers > 0 && thread_pool_worker_count(pool) == 0) {
        fuzz_reached("idle-workers-have-left");
    }
}

/* One has nothing to do: the request does not need another one. */
static void use_the_warm_one(World *world)
{
    ThreadPoolAio *pool = aio_get_thread_pool(qemu_get_aio_context());
    unsigned workers = thread_pool_worker_count(pool);

    fuzz_reached("worker-has-stayed");
    fuzz_check(workers >= 1);
    submit(world, 1);
    fuzz_check(!TIMED || thread_pool_worker_count(pool) <= workers);
}

/* One worker stays though it has nothing to do, and may leave again. */
static void op_warm(World *world, uint8_t argument)
{
    bool used = argument & 1;

    wait_for_all(world);
    aio_context_set_thread_pool_params(qemu_get_aio_context(), 1, world->max_threads);
    if (used) {
        aio_poll(qemu_get_aio_context(), false); /* where none was there, this thread makes it */
    }
    g_usleep(IDLE_US);
    if (used) {
        use_the_warm_one(world);
    }
    aio_context_set_thread_pool_params(qemu_get_aio_context(), 0, world->max_threads);
}

static void (*const operations[])(World *, uint8_t) = { op_submit, op_poll, op_cancel, op_limit, op_wait, op_idle, op_warm };

/* ---- coroutines of the io thread */

static void coroutine_fn client_entry(void *opaque)
{
    Client *client = opaque;

    if (client->max_threads) {
        aio_context_set_thread_pool_params(qemu_get_current_aio_context(), 0, client->max_threads);
    }
    for (unsigned i = 0; i < client->rounds; i++) {
        fuzz_check(thread_pool_submit_co(client_work, &client->ran) == -EIO);
        fuzz_check(__atomic_load_n(&client->ran, __ATOMIC_SEQ_CST) == (int)i + 1);
    }
}

/* ---- the scenario */

static void start_clients(World *world, unsigned count, const uint8_t *flags)
{
    for (unsigned i = 0; i < count; i++) {
        world->clients[i] = (Client){ .world = world, .rounds = 1 + flags[i] % 3, .max_threads = (flags[i] >> 2) % 3 };
        scenario_start(&world->scenario, 1, client_entry, &world->clients[i]);
    }
}

static void run(FuzzInput *in)
{
    World world = { .max_threads = 64, .work_limit = 64 };
    unsigned operation_count = fuzz_choice(in, 8);
    unsigned client_count = fuzz_choice(in, 3);
    uint8_t client_flags[2], first = fuzz_byte(in), second = fuzz_byte(in);
    uint64_t begin_ns;

    for (unsigned i = 0; i < client_count; i++) {
        client_flags[i] = fuzz_byte(in);
    }
    scenario_begin(&world.scenario, client_count > 0);
    start_clients(&world, client_count, client_flags);
    submit(&world, first);
    submit(&world, second ^ 4);
    for (unsigned i = 0; i < operation_count; i++) {
        unsigned operation = fuzz_choice(in, G_N_ELEMENTS(operations));

        operations[operation](&world, fuzz_byte(in));
    }
    wait_for_all(&world);
    for (unsigned i = 0; i < world.request_count; i++) {
        fuzz_check(world.requests[i].done);
    }
    begin_ns = fuzz_time_ns();
    scenario_end(&world.scenario);
    fuzz_check(!TIMED || fuzz_time_ns() - begin_ns < PROMPT_NS);
}

static const char *const windows[] = {
    "callback-polls-for-another",
    "several-done-inside-a-callback",
    "callback-submits",
    "more-requests-than-workers",
    "cancelled-before-it-has-run",
    "cancelled-too-late",
    "idle-workers-have-left",
    "nobody-waits-for-the-request",
    "worker-has-stayed",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "thread_pool", .run = run, .windows = windows };
