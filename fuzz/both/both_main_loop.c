/*
 * Target both_main_loop: rounds of the main loop, with bottom halves of the main context and of the I/O handlers', descriptors of both, timers of
 * the main loop and of the main context, and GLib sources of two priorities beside them; from the main thread, two io threads, and callbacks.
 *
 * In which order GLib's loop serves several descriptors of one context that are ready in the same round is left out: the core goes through its
 * list from the front, as QEMU up to 10.0, and newer ones from the end. So are sources of a lower priority than the contexts': QEMU may set a
 * context's eventfd though nobody sleeps, which costs such a source one round.
 *
 * Invariants: callbacks run in the main thread. Noted: each callback, and where rounds end.
 *
 * The empty scenario schedules one bottom half.
 */
#include "fuzz/both/both.h"

#define CONTEXTS       (BOTH_THREADS + 1)
#define HALVES         3u
#define LINES          4u
#define CLOCKS         4u
#define IDLES          2u
#define OPERATIONS_MAX 20u
#define ALARM_NS       (10 * SCALE_MS)
#define ENDING_NS      (100 * SCALE_MS) /* longer than any timer */

typedef struct World World;

typedef struct Half {
    World *world;
    QEMUBH *bh;
    unsigned number;
    uint8_t flags; /* what its next callback does besides */
} Half;

typedef struct Line {
    World *world;
    unsigned number;
    int fd, peer;
    uint8_t flags;
    bool is_set;      /* it has a handler */
    const char *seen; /* what its callback will have noted, see note_lines() */
} Line;

typedef struct Clock {
    World *world;
    QEMUTimer timer;
    unsigned number;
    uint8_t flags;
} Clock;

/* A GLib source that is called once. */
typedef struct Idle {
    World *world;
    unsigned number;
    bool attached;
} Idle;

struct World {
    Scenario scenario;
    Half halves[HALVES];
    Line lines[LINES];
    Clock clocks[CLOCKS];
    Idle idles[IDLES];
};

/* ---- callbacks */

/* Those that were served one after another. */
static void note_lines(World *world)
{
    for (unsigned i = 0; i < LINES; i++) {
        if (world->lines[i].seen) {
            fuzz_note("%s %u", world->lines[i].seen, i);
            world->lines[i].seen = NULL;
        }
    }
}

static void note(World *world, const char *what, unsigned number)
{
    fuzz_check(both_here(&world->scenario) == 0);
    note_lines(world);
    fuzz_note("%s %u", what, number);
}

/* Lines of two contexts never count as served one after another. */
static void see(Line *line, const char *what)
{
    World *world = line->world;

    fuzz_check(both_here(&world->scenario) == 0);
    for (unsigned i = 0; i < LINES; i++) {
        if (world->lines[i].seen && (i == line->number || i % 2 != line->number % 2)) {
            note_lines(world);
        }
    }
    line->seen = what;
}

static void half_cb(void *opaque)
{
    Half *half = opaque;
    World *world = half->world;
    uint8_t flags = half->flags;

    note(world, "bh", half->number);
    half->flags = 0;
    if (flags & 1) {
        qemu_bh_schedule(half->bh);
    }
    if (flags & 2) {
        qemu_bh_schedule(world->halves[(half->number + 1) % HALVES].bh);
    }
    if (flags & 4) {
        bool progress = aio_poll(qemu_get_aio_context(), false);

        note_lines(world);
        fuzz_note("bh %u polls: %d", half->number, progress);
    }
}

static int64_t deadline(unsigned number, unsigned steps)
{
    /* No two, and no alarm's, come near each other. */
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + (20 * steps + 2 * (1 + number)) * SCALE_MS;
}

static void clock_cb(void *opaque)
{
    Clock *clock = opaque;
    uint8_t flags = clock->flags;

    note(clock->world, "timer", clock->number);
    clock->flags = 0;
    if (flags & 1) {
        timer_mod(&clock->timer, deadline(clock->number, 1));
    }
    if (flags & 2) {
        qemu_bh_schedule(clock->world->halves[clock->number % HALVES].bh);
    }
}

static gboolean idle_cb(void *opaque)
{
    Idle *idle = opaque;

    note(idle->world, "source", idle->number);
    idle->attached = false;
    return G_SOURCE_REMOVE;
}

static void set_line(Line *line, bool on);

static void line_cb(void *opaque)
{
    Line *line = opaque;
    Line *other = &line->world->lines[(line->number + 1) % LINES]; /* of the other context */
    uint8_t flags = line->flags;
    ssize_t result = 0;
    char buffer[4];

    line->flags = 0;
    if (!(flags & 1)) {
        result = recv(line->fd, buffer, sizeof(buffer), 0);
    }
    see(line, result ? "line" : "held line");
    if (flags & 2) {
        set_line(line, false);
    }
    if (flags & 4) {
        set_line(other, false);
    }
    if (flags & 8) {
        set_line(other, true);
    }
    if (flags & 16) {
        send(other->peer, "r", 1, 0);
    }
}

/* Half of them are the main context's, half the I/O handlers'. */
static void set_line(Line *line, bool on)
{
    line->is_set = on;
    if (line->number % 2) {
        aio_set_fd_handler(qemu_get_aio_context(), line->fd, on ? line_cb : NULL, NULL, NULL, NULL, line);
    } else {
        qemu_set_fd_handler(line->fd, on ? line_cb : NULL, NULL, line);
    }
}

/* ---- operations, in any thread */

typedef struct Operation {
    World *world;
    void (*function)(struct Operation *);
    uint8_t argument;
} Operation;

static void do_schedule(Operation *operation)
{
    qemu_bh_schedule(operation->world->halves[operation->argument % HALVES].bh);
}

static void do_send(Operation *operation)
{
    send(operation->world->lines[operation->argument % LINES].peer, "r", 1, 0);
}

static void do_arm(Operation *operation)
{
    Clock *clock = &operation->world->clocks[operation->argument % CLOCKS];

    clock->flags = operation->argument >> 4;
    timer_mod(&clock->timer, deadline(clock->number, operation->argument >> 2 & 3));
}

static void do_disarm(Operation *operation)
{
    timer_del(&operation->world->clocks[operation->argument % CLOCKS].timer);
}

static void do_attach(Operation *operation)
{
    static const int priorities[IDLES] = { G_PRIORITY_HIGH, G_PRIORITY_DEFAULT };
    Idle *idle = &operation->world->idles[operation->argument % IDLES];
    GSource *source;

    if (!idle->attached) {
        idle->attached = true;
        source = g_idle_source_new();
        g_source_set_priority(source, priorities[idle->number]);
        g_source_set_callback(source, idle_cb, idle, NULL);
        g_source_attach(source, both_main_context());
        g_source_unref(source);
    }
}

static void do_notify(Operation *operation)
{
    (void)operation;
    qemu_notify_event();
}

static void do_toggle_line(Operation *operation)
{
    Line *line = &operation->world->lines[operation->argument % LINES];

    set_line(line, !line->is_set);
}

static void do_flags(Operation *operation)
{
    Half *half = &operation->world->halves[operation->argument % HALVES];
    Line *line = &operation->world->lines[operation->argument % LINES];

    if (operation->argument & 128) {
        half->flags = operation->argument >> 2;
    } else {
        line->flags = operation->argument >> 2;
    }
}

static void (*const functions[])(Operation *) = { do_schedule, do_send,  do_arm,    do_flags,       do_attach, do_send,
                                                  do_schedule, do_flags, do_notify, do_toggle_line, do_send,   do_disarm };

static void perform(void *opaque)
{
    Operation *operation = opaque;

    operation->function(operation);
}

/* ---- the scenario */

static void set_flag(void *opaque)
{
    *(bool *)opaque = true;
}

static void let_time_pass(World *world, int64_t ns)
{
    QEMUTimer timer;
    bool over = false;

    timer_init_ns(&timer, QEMU_CLOCK_REALTIME, set_flag, &over);
    timer_mod(&timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + ns);
    while (!over) {
        main_loop_wait(false);
    }
    note_lines(world);
    fuzz_note("time has passed");
}

static void do_rounds(World *world, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        main_loop_wait(true);
        note_lines(world);
        fuzz_note("round");
    }
}

static void set_up(World *world)
{
    scenario_begin(&world->scenario, BOTH_THREADS);
    for (unsigned i = 0; i < HALVES; i++) {
        world->halves[i] = (Half){ .world = world, .number = i };
        world->halves[i].bh = aio_bh_new(i ? qemu_get_aio_context() : iohandler_get_aio_context(), half_cb, &world->halves[i]);
    }
    for (unsigned i = 0; i < LINES; i++) {
        int fds[2];

        fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
        world->lines[i] = (Line){ .world = world, .number = i, .fd = fds[0], .peer = fds[1] };
        set_line(&world->lines[i], true);
    }
    for (unsigned i = 0; i < CLOCKS; i++) {
        Clock *clock = &world->clocks[i];

        clock->world = world;
        clock->number = i;
        if (i % 2) {
            aio_timer_init(qemu_get_aio_context(), &clock->timer, QEMU_CLOCK_REALTIME, SCALE_NS, clock_cb, clock);
        } else {
            timer_init_ns(&clock->timer, QEMU_CLOCK_REALTIME, clock_cb, clock);
        }
    }
    for (unsigned i = 0; i < IDLES; i++) {
        world->idles[i] = (Idle){ .world = world, .number = i };
    }
}

static void tear_down(World *world)
{
    let_time_pass(world, ENDING_NS);
    for (unsigned i = 0; i < CLOCKS; i++) {
        timer_del(&world->clocks[i].timer);
    }
    for (unsigned i = 0; i < LINES; i++) {
        set_line(&world->lines[i], false);
        close(world->lines[i].fd);
        close(world->lines[i].peer);
    }
    for (unsigned i = 0; i < HALVES; i++) {
        qemu_bh_delete(world->halves[i].bh);
    }
    do_rounds(world, HALVES);
    for (unsigned i = 0; i < IDLES; i++) {
        fuzz_check(!world->idles[i].attached);
    }
    scenario_end(&world->scenario);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    unsigned count = 1 + fuzz_choice(in, OPERATIONS_MAX);

    set_up(&world);
    for (unsigned i = 0; i < count; i++) {
        uint8_t what = fuzz_byte(in);
        Operation operation = { &world, functions[what % G_N_ELEMENTS(functions)], fuzz_byte(in) };

        both_do_in(&world.scenario, what / G_N_ELEMENTS(functions) % CONTEXTS, perform, &operation);
        if (what >= 192) { /* else several in a row */
            do_rounds(&world, 1 + what % 2);
        }
        if (what >= 232) {
            let_time_pass(&world, ALARM_NS);
        }
    }
    tear_down(&world);
}

const FuzzTarget fuzz_target = { .name = "both_main_loop", .run = run };
