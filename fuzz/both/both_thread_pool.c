/*
 * Target both_thread_pool: requests to the thread pools of the main context and of an io thread's: calls that return at once, take their time, or
 * wait to be let on; by callback or by coroutine. They are cancelled, limits change, callbacks submit, cancel, poll and schedule bottom halves, and
 * idle workers leave.
 *
 * Invariants: each request is called back once; who was cancelled has not run. Noted: each callback, with its result, in the order of all; as which
 * number its call began, and how many were under way in its pool.
 *
 * The empty scenario is one request of the main context.
 */
#include "fuzz/both/both.h"

#define CONTEXTS       2u
#define REQUESTS       8u
#define OPERATIONS_MAX 17u
#define WORKERS_MOST   64
#define MOMENT_NS      (1 * SCALE_MS)
#define IDLE_NS        (INT64_C(11) * 1000 * SCALE_MS) /* a worker that has nothing to do leaves after ten seconds */

/* What a call does. */
enum { AT_ONCE, TAKES_TIME, WAITS, GIVES_WAY };

/* So that no two calls end at the same time: what comes first then is the clock's affair. */
static const unsigned lengths_us[REQUESTS] = { 7013, 19037, 53119, 149261, 401503, 1103777, 2403701, 5203409 };

typedef struct World World;

typedef struct Request {
    World *world;
    unsigned number;
    uint8_t flags; /* what its call and its callback do */
    BlockAIOCB *acb; /* NULL: a coroutine has it, or it is called back */
    bool busy;       /* home thread */
    bool open;       /* under the world's lock */
    unsigned order;  /* its call was the n-th to begin; 0: it has not */
    int beside;      /* calls under way in its pool then */
} Request;

struct World {
    Scenario scenario;
    Request requests[REQUESTS];
    QEMUBH *halves[CONTEXTS];
    QemuMutex lock;
    QemuCond opened;
    unsigned begun; /* no points, as what follows */
    int running[CONTEXTS];
    unsigned busy;
};

static unsigned context_of(const Request *request)
{
    return request->number % CONTEXTS;
}

/* ---- in a worker */

static int call(void *opaque)
{
    Request *request = opaque;
    World *world = request->world;

    request->beside = __atomic_fetch_add(&world->running[context_of(request)], 1, __ATOMIC_SEQ_CST);
    request->order = __atomic_add_fetch(&world->begun, 1, __ATOMIC_SEQ_CST);
    switch (request->flags & 3) {
    case TAKES_TIME:
        g_usleep(lengths_us[request->number]);
        break;
    case WAITS:
        qemu_mutex_lock(&world->lock);
        while (!request->open) {
            qemu_cond_wait(&world->opened, &world->lock);
        }
        qemu_mutex_unlock(&world->lock);
        break;
    case GIVES_WAY:
        g_thread_yield();
        break;
    default:
        break;
    }
    __atomic_fetch_sub(&world->running[context_of(request)], 1, __ATOMIC_SEQ_CST);
    return 100 + (int)request->number;
}

/* ---- in the thread of the request's context */

static void is_over(Request *request, const char *who, int result)
{
    fuzz_check(request->busy);
    fuzz_check(result == (request->order ? 100 + (int)request->number : -ECANCELED));
    fuzz_note("%s %u in %u: %d, began as number %u, beside %d", who, request->number, both_here(&request->world->scenario),
              result, request->order, request->beside);
    request->busy = false;
    request->acb = NULL;
    __atomic_fetch_sub(&request->world->busy, 1, __ATOMIC_SEQ_CST);
}

static void submit(Request *request, uint8_t flags);

static void cancel(Request *request)
{
    if (request->busy && request->acb) {
        bdrv_aio_cancel_async(request->acb);
    }
}

static void called_back(void *opaque, int result)
{
    Request *request = opaque;
    World *world = request->world;
    Request *other = &world->requests[(request->number + CONTEXTS) % REQUESTS]; /* of the same context */
    uint8_t flags = request->flags;

    is_over(request, "request", result);
    if (flags & 4) {
        submit(other, flags >> 6);
    }
    if (flags & 8) {
        cancel(other);
    }
    if (flags & 16) {
        qemu_bh_schedule(world->halves[context_of(request)]);
    }
    if (flags & 32) {
        fuzz_note("request %u polls: %d", request->number, aio_poll(qemu_get_current_aio_context(), false));
    }
}

static void coroutine_fn submit_entry(void *opaque)
{
    Request *request = opaque;
    int result = thread_pool_submit_co(call, request);

    is_over(request, "coroutine", result);
}

static bool begin(Request *request, uint8_t flags)
{
    if (request->busy) {
        return false;
    }
    request->flags = flags;
    request->busy = true;
    request->open = false;
    request->order = 0;
    request->beside = 0;
    __atomic_fetch_add(&request->world->busy, 1, __ATOMIC_SEQ_CST);
    return true;
}

static void submit(Request *request, uint8_t flags)
{
    if (begin(request, flags)) {
        request->acb = thread_pool_submit_aio(call, request, called_back, request);
    }
}

static void submit_co(Request *request, uint8_t flags)
{
    if (begin(request, flags)) {
        qemu_coroutine_enter(qemu_coroutine_create(submit_entry, request));
    }
}

static void half_cb(void *opaque)
{
    World *world = opaque;

    fuzz_note("bh in %u", both_here(&world->scenario));
}

/* ---- operations: in the thread of the request's context */

typedef struct Operation {
    Request *request;
    void (*function)(struct Operation *);
    uint8_t argument;
} Operation;

static void do_submit(Operation *operation)
{
    submit(operation->request, operation->argument);
}

static void do_submit_co(Operation *operation)
{
    submit_co(operation->request, operation->argument);
}

static void do_cancel(Operation *operation)
{
    cancel(operation->request);
}

static void do_limit(Operation *operation)
{
    int least = operation->argument & 1, most = least + operation->argument / 2 % 3;

    both_set_workers(qemu_get_current_aio_context(), least, most ? most : WORKERS_MOST);
}

static void do_open(Operation *operation)
{
    World *world = operation->request->world;

    qemu_mutex_lock(&world->lock);
    operation->request->open = true;
    qemu_cond_broadcast(&world->opened);
    qemu_mutex_unlock(&world->lock);
}

/* And wait for its callback. */
static void do_cancel_and_wait(Operation *operation)
{
    Request *request = operation->request;

    if (context_of(request) == 0 && request->busy && request->acb && (request->flags & 3) != WAITS) {
        bdrv_aio_cancel(request->acb);
        fuzz_note("cancelled %u", request->number);
    }
}

static void (*const functions[])(Operation *) = { do_submit, do_submit_co, do_submit, do_cancel,
                                                  do_limit,  do_open,      do_submit, do_cancel_and_wait };

static void perform(void *opaque)
{
    Operation *operation = opaque;

    operation->function(operation);
}

static void do_in_home(World *world, unsigned number, void (*function)(Operation *), uint8_t argument)
{
    Operation operation = { &world->requests[number], function, argument };

    both_do_in(&world->scenario, context_of(operation.request), perform, &operation);
}

/* ---- the scenario */

static void let_time_pass(World *world, unsigned how)
{
    if (how == 1) {
        both_settle(&world->scenario);
    } else if (how) {
        both_sleep(&world->scenario, how == 2 ? MOMENT_NS : IDLE_NS);
    }
    if (how) {
        fuzz_note("%u busy", world->busy);
    }
}

static void tear_down(World *world)
{
    do {
        for (unsigned i = 0; i < REQUESTS; i++) {
            do_in_home(world, i, do_limit, 0);
            do_in_home(world, i, do_open, 0);
        }
        both_sleep(&world->scenario, IDLE_NS);
    } while (world->busy);
    both_sleep(&world->scenario, REQUESTS * IDLE_NS); /* who leaves wakes another, which stays as long once more */
    for (unsigned i = 0; i < CONTEXTS; i++) {
        qemu_bh_delete(world->halves[i]);
    }
    both_settle(&world->scenario);
    scenario_end(&world->scenario);
    qemu_cond_destroy(&world->opened);
    qemu_mutex_destroy(&world->lock);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned count = 1 + fuzz_choice(in, OPERATIONS_MAX);

    qemu_mutex_init(&world.lock);
    qemu_cond_init(&world.opened);
    scenario_begin(&world.scenario, BOTH_THREADS);
    for (unsigned i = 0; i < REQUESTS; i++) {
        world.requests[i] = (Request){ .world = &world, .number = i };
    }
    for (unsigned i = 0; i < CONTEXTS; i++) {
        world.halves[i] = aio_bh_new(scenario_context(&world.scenario, i), half_cb, &world);
    }
    for (unsigned i = 0; i < CONTEXTS; i++) {
        do_in_home(&world, i, do_limit, fuzz_byte(in));
    }
    for (unsigned i = 0; i < count; i++) {
        uint8_t what = fuzz_byte(in), argument = fuzz_byte(in);

        do_in_home(&world, what / 8 % REQUESTS, functions[what % 8], argument);
        let_time_pass(&world, what / 64);
    }
    tear_down(&world);
}

const FuzzTarget fuzz_target = { .name = "both_thread_pool", .run = run };
