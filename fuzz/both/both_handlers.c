/*
 * Target both_handlers: descriptors and event notifiers in the main context and those of two io threads. Handlers are set, replaced and removed
 * from any thread, also by callbacks, their own and others'; connections are read and written and closed; bells, which are asked by io_poll where
 * the loop polls and then need not be rung, as a virtqueue, are rung in any mode.
 *
 * Whether and how long a loop polls before it sleeps depends on time in QEMU and on a number of rounds in the core: so it is what a bell has
 * brought that is compared, and not by which of its callbacks; and in which order bells were served only where nothing is polled.
 *
 * Invariants: callbacks run in their context's thread; a loop does not sleep while bells think that it polls, nor while they have work. Noted:
 * each callback of a connection, with what it has read, and what each bell has brought.
 *
 * The empty scenario rings one bell.
 */
#include "fuzz/both/both.h"

#define CONTEXTS       (BOTH_THREADS + 1)
#define BELLS          4u
#define LINES          4u
#define OPERATIONS_MAX 20u
#define MOMENT_US      8
#define MOMENTS_MAX    16u /* longer than a loop polls */

typedef struct World World;

/* Work, and who is told of it. */
typedef struct Bell {
    EventNotifier notifier; /* first */
    World *world;
    unsigned number;
    uint8_t flags;         /* what its next callback does besides */
    bool set;              /* it has a handler */
    int work;              /* no points, as what follows */
    int polled;            /* the loop says that it need not be rung */
    unsigned brought;      /* since the last note */
} Bell;

/* A connection: the handler's end, and the other one. */
typedef struct Line {
    World *world;
    unsigned number;
    int fd, peer; /* peer: -1 when closed */
    uint8_t flags; /* what its next callback that reads does besides */
    bool reads;
    unsigned writes; /* it will write so often */
} Line;

struct World {
    Scenario scenario;
    Bell bells[BELLS];
    Line lines[LINES];
    QEMUBH *halves[CONTEXTS];
    bool polls[CONTEXTS];
};

static unsigned context_of_bell(const Bell *bell)
{
    return 1 + bell->number % BOTH_THREADS;
}

static unsigned context_of_line(const Line *line)
{
    static const unsigned contexts[LINES] = { 0, 2, 1, 0 };

    return contexts[line->number];
}

static AioContext *context(World *world, unsigned index)
{
    return scenario_context(&world->scenario, index);
}

/* ---- bells */

static void ring(Bell *bell)
{
    __atomic_fetch_add(&bell->work, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&bell->polled, __ATOMIC_SEQ_CST)) {
        event_notifier_set(&bell->notifier);
    }
}

static void unset_bell(Bell *bell);

static void serve(Bell *bell)
{
    World *world = bell->world;
    unsigned home = context_of_bell(bell);
    unsigned work = (unsigned)__atomic_exchange_n(&bell->work, 0, __ATOMIC_SEQ_CST);
    uint8_t flags = bell->flags;

    fuzz_check(both_here(&world->scenario) == home);
    if (!work) {
        return; /* rung before it was polled */
    }
    bell->brought += work;
    bell->flags = 0;
    if (!world->polls[home]) {
        fuzz_note("bell %u in %u: %u", bell->number, home, work);
    }
    if (flags & 1) {
        unset_bell(bell);
    }
    if (flags & 2) {
        ring(&world->bells[(bell->number + 1) % BELLS]);
    }
    if (flags & 4) {
        ring(bell);
    }
    if (flags & 8) {
        qemu_bh_schedule(world->halves[home]);
    }
}

static void bell_read(EventNotifier *notifier)
{
    event_notifier_test_and_clear(notifier);
    serve((Bell *)notifier);
}

static bool bell_poll(void *opaque)
{
    return __atomic_load_n(&((Bell *)opaque)->work, __ATOMIC_SEQ_CST);
}

static void bell_poll_ready(EventNotifier *notifier)
{
    serve((Bell *)notifier);
}

static void bell_poll_begin(EventNotifier *notifier)
{
    __atomic_store_n(&((Bell *)notifier)->polled, 1, __ATOMIC_SEQ_CST);
}

static void bell_poll_end(EventNotifier *notifier)
{
    __atomic_store_n(&((Bell *)notifier)->polled, 0, __ATOMIC_SEQ_CST);
}

static void set_bell(Bell *bell, bool polls)
{
    AioContext *ctx = context(bell->world, context_of_bell(bell));

    bell->set = true;
    aio_set_event_notifier(ctx, &bell->notifier, bell_read, polls ? bell_poll : NULL, polls ? bell_poll_ready : NULL);
    if (polls) {
        aio_set_event_notifier_poll(ctx, &bell->notifier, bell_poll_begin, bell_poll_end);
    }
    event_notifier_set(&bell->notifier); /* there may be work */
}

static void unset_bell(Bell *bell)
{
    bell->set = false;
    aio_set_event_notifier(context(bell->world, context_of_bell(bell)), &bell->notifier, NULL, NULL, NULL);
    bell->polled = 0; /* nobody says so at the end of the phase */
}

/* ---- connections */

static void set_line(Line *line, bool reads, unsigned writes);

static void line_write(void *opaque)
{
    Line *line = opaque;

    fuzz_check(both_here(&line->world->scenario) == context_of_line(line));
    fuzz_note("line %u writes, %u left: %zd", line->number, line->writes, send(line->fd, "w", 1, MSG_NOSIGNAL));
    if (line->writes && --line->writes == 0) {
        set_line(line, line->reads, 0);
    }
}

static void send_to(Line *line)
{
    if (line->peer >= 0) {
        send(line->peer, "r", 1, MSG_NOSIGNAL);
    }
}

static void line_read(void *opaque)
{
    Line *line = opaque;
    World *world = line->world;
    Line *other = &world->lines[(line->number + 1) % LINES];
    unsigned home = context_of_line(line);
    uint8_t flags = line->flags;
    ssize_t result = 0;
    char buffer[4];

    fuzz_check(both_here(&world->scenario) == home);
    line->flags = 0;
    if (!(flags & 1)) {
        result = recv(line->fd, buffer, sizeof(buffer), 0);
    }
    fuzz_note("line %u in %u: %zd", line->number, home, result);
    if (flags & 2 || (!(flags & 1) && result == 0)) { /* at the end, too */
        set_line(line, false, 0);
    }
    if (flags & 4) {
        set_line(other, false, 0);
    }
    if (flags & 8) {
        set_line(other, true, 1);
    }
    if (flags & 16) {
        send_to(other);
    }
    if (flags & 32) {
        qemu_bh_schedule(world->halves[home]);
    }
    if (flags & 64) {
        fuzz_note("line %u polls: %d", line->number, aio_poll(context(world, home), false));
    }
    if (flags & 128) {
        ring(&world->bells[line->number % BELLS]);
    }
}

static void set_line(Line *line, bool reads, unsigned writes)
{
    AioContext *ctx = context(line->world, context_of_line(line));

    line->reads = reads;
    line->writes = writes;
    aio_set_fd_handler(ctx, line->fd, reads ? line_read : NULL, writes ? line_write : NULL, NULL, NULL, line);
}

/* ---- operations, in any thread */

typedef struct Operation {
    World *world;
    void (*function)(struct Operation *);
    uint8_t argument;
} Operation;

static Bell *bell_of(Operation *operation)
{
    return &operation->world->bells[operation->argument % BELLS];
}

static Line *line_of(Operation *operation)
{
    return &operation->world->lines[operation->argument % LINES];
}

static void do_ring(Operation *operation)
{
    ring(bell_of(operation));
}

static void do_send(Operation *operation)
{
    send_to(line_of(operation));
}

static void do_set_line(Operation *operation)
{
    set_line(line_of(operation), operation->argument & 4, operation->argument >> 3 & 3);
}

static void do_line_flags(Operation *operation)
{
    line_of(operation)->flags = operation->argument & ~3u;
}

static void do_hold(Operation *operation)
{
    line_of(operation)->flags = 1 | operation->argument;
}

static void do_bell_flags(Operation *operation)
{
    bell_of(operation)->flags = operation->argument >> 2;
}

static void do_set_bell(Operation *operation)
{
    Bell *bell = bell_of(operation);

    unset_bell(bell);
    if (operation->argument & 4) {
        set_bell(bell, operation->argument & 8);
    }
}

static void do_polling(Operation *operation)
{
    unsigned index = 1 + operation->argument % BOTH_THREADS;
    World *world = operation->world;

    world->polls[index] = operation->argument & 4;
    both_set_polling(context(world, index), world->polls[index]);
}

static void do_close(Operation *operation)
{
    Line *line = line_of(operation);

    if (line->peer >= 0) {
        close(line->peer);
        line->peer = -1;
    }
}

static void do_schedule(Operation *operation)
{
    qemu_bh_schedule(operation->world->halves[operation->argument % CONTEXTS]);
}

static void (*const functions[])(Operation *) = { do_ring,       do_send,       do_set_line, do_line_flags, do_send,    do_hold,
                                                  do_ring,       do_bell_flags, do_set_bell, do_ring,       do_polling, do_send,
                                                  do_line_flags, do_schedule,   do_ring,     do_close };

static void perform(void *opaque)
{
    Operation *operation = opaque;

    operation->function(operation);
}

static void half_cb(void *opaque)
{
    World *world = opaque;

    fuzz_note("bh in %u", both_here(&world->scenario));
}

/* ---- the scenario */

static void set_up(World *world, uint8_t flags)
{
    scenario_begin(&world->scenario, BOTH_THREADS);
    for (unsigned i = 0; i < CONTEXTS; i++) {
        world->polls[i] = i && flags & (1u << i);
        both_set_polling(context(world, i), world->polls[i]);
        world->halves[i] = aio_bh_new(context(world, i), half_cb, world);
    }
    for (unsigned i = 0; i < BELLS; i++) {
        world->bells[i] = (Bell){ .world = world, .number = i };
        fuzz_check(event_notifier_init(&world->bells[i].notifier, false) == 0);
        set_bell(&world->bells[i], true);
    }
    for (unsigned i = 0; i < LINES; i++) {
        int fds[2];

        fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
        world->lines[i] = (Line){ .world = world, .number = i, .fd = fds[0], .peer = fds[1] };
        /* A context that has bells only may poll, until that is changed. */
        set_line(&world->lines[i], !world->polls[context_of_line(&world->lines[i])], 0);
    }
    both_settle(&world->scenario);
}

/* When all has been done, and the io threads' loops sleep. The moment is short, or QEMU would think that it does not pay to poll. */
static void note_bells(World *world)
{
    both_settle(&world->scenario);
    for (unsigned i = 0; i < BELLS; i++) {
        Bell *bell = &world->bells[i];
        unsigned moments = 0;

        do {
            g_usleep(MOMENT_US);
        } while (bell->polled && ++moments < MOMENTS_MAX);
        fuzz_check(!bell->polled);
        fuzz_check(!bell->set || !bell->work);
        if (bell->brought) {
            fuzz_note("bell %u has brought %u", i, bell->brought);
        }
        bell->brought = 0;
    }
}

static void tear_down(World *world)
{
    for (unsigned i = 0; i < LINES; i++) {
        Operation operation = { .world = world, .argument = i };

        set_line(&world->lines[i], false, 0);
        do_close(&operation);
    }
    for (unsigned i = 0; i < BELLS; i++) {
        unset_bell(&world->bells[i]);
    }
    for (unsigned i = 0; i < CONTEXTS; i++) {
        qemu_bh_delete(world->halves[i]);
    }
    both_settle(&world->scenario);
    for (unsigned i = 0; i < LINES; i++) {
        close(world->lines[i].fd);
    }
    for (unsigned i = 0; i < BELLS; i++) {
        event_notifier_cleanup(&world->bells[i].notifier);
    }
    scenario_end(&world->scenario);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned count = 1 + fuzz_choice(in, OPERATIONS_MAX), last = 0;

    set_up(&world, fuzz_byte(in));
    for (unsigned i = 0; i < count; i++) {
        uint8_t what = fuzz_byte(in);
        Operation operation = { &world, functions[what % G_N_ELEMENTS(functions)], fuzz_byte(in) };
        unsigned sender = what / G_N_ELEMENTS(functions) % CONTEXTS;

        if (sender != last) {
            both_settle(&world.scenario); /* which of two is first at a third thread is nobody's business */
        }
        last = sender;
        both_do_in(&world.scenario, sender, perform, &operation);
        if (what & 128) {
            note_bells(&world);
            fuzz_note("settled");
        }
    }
    note_bells(&world);
    tear_down(&world);
}

const FuzzTarget fuzz_target = { .name = "both_handlers", .run = run };
