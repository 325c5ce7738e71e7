/*
 * Target aio_context: threads ask event loops for work by every way that there is (a shared bottom half, one-shot ones, a new file
 * descriptor handler, a timer), while the main loop runs as GLib sources, other threads poll the same contexts under the big lock, and
 * io threads come and go.
 *
 * Invariants: each request is answered, once. Nobody else wakes the loop that has to answer: the askers wait at a condition variable of
 * their own, and go on only when they have their answer. No external client is called while its section lasts. A timer is not late, whatever
 * others there are; a loop that has got its epoll keeps it.
 *
 * The empty scenario is one asker with one request to the main context by the shared bottom half.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/aio_epoll.h"
#include "core/atomic.h"
#include "core/event_notifier.h"
#include "core/glib_source.h"
#include "core/timer.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define ASKERS_MAX      4u
#define DESCRIPTORS_MAX 1024u /* more than the simulated OS has */
#define POLL_ROUNDS     4u
#define QUIET_ROUNDS    4u /* more: the loop polls for longer by each, until a handler is idle for longer than it may */
#define TIMER_NS        1000000
#define LONG_NS         (100 * NANOSECONDS_PER_SECOND)
#define GUESTS          4u /* each but the first is scheduled while the bottom half for those before may wait */

typedef enum Way {
    BY_SHARED_BH,
    BY_ONESHOT_BH,
    BY_FD,
    BY_TIMER,
    BY_POLLED_FD,
    AS_VCPU_POLLING,
    AS_VCPU_WAITING,
    BY_THREAD,
    WAYS
} Way;

/* What an asker's descriptor is, BY_FD. */
typedef enum FdKind {
    FD_ONCE,  /* its handler removes itself */
    FD_STAYS, /* the asker replaces its handler for each request, and removes it at the end */
    FD_FILE,  /* a regular file: always readable, and not for epoll; as FD_ONCE */
    FD_KINDS
} FdKind;

struct World;

typedef struct Asker {
    struct World *world;
    QemuThread thread;
    Way way;
    unsigned rounds;
    unsigned place; /* 0: main context, 1: iohandler context, 2: io thread */
    bool with_glib; /* BY_THREAD, as what follows */
    bool polls_first; /* with GLib: before the thread's loop is GLib's */
    unsigned calls; /* of the handler that is polled; of the thread */
    unsigned guests; /* coroutines in the thread, still to end; under lock */
    AioContext *visited;
    bool external;  /* BY_FD, in an io thread: as a client whose device is being drained */
    bool drained; /* its section lasts; raw, for the invariant */
    bool many_timers; /* BY_TIMER: one that is told to come sooner, and one that never comes */
    bool busy;      /* BY_POLLED_FD: there is always something, until a descriptor that is not polled was served, too */
    bool quiet;     /* BY_POLLED_FD: as a guest, which sends no kick while its device is polled; never busy */
    bool kicks_off; /* atomic */
    bool idly;      /* AS_VCPU_POLLING: without a bottom half of its own, which would wake everybody */
    AioContext *ctx;
    EventNotifier notifier;
    int file; /* FD_FILE, else -1 */
    /* under lock */
    QemuMutex lock;
    QemuCond answered;
    bool asked;
    unsigned answers;
    bool flag; /* atomic: AS_VCPU_WAITING */
} Asker;

typedef struct World {
    Scenario scenario;
    Asker askers[ASKERS_MAX];
    unsigned asker_count;
    unsigned epoll_from; /* descriptors of the io thread's loop; 0: no epoll */
    bool epoll_later;    /* it comes while they are set */
    FdKind fd_kind;
    QEMUBH *shared_bh[3];
    unsigned expected, answered; /* in the main thread's contexts; under the big lock */
    /* For the windows: raw atomics, no points and no part of the program. */
    unsigned asked[3];
    unsigned nested_polls;
    unsigned sections; /* of external clients */
    int asked_by_fd; /* in the io thread; -1: answered already */
    int has_epoll;
} World;

static __thread bool is_vcpu;

/* ---- answers: in the loop that was asked */

static void answer(Asker *asker)
{
    if (is_vcpu) {
        fuzz_reached("vcpu-answers-for-the-main-thread");
    }
    if (__atomic_load_n(&asker->world->nested_polls, __ATOMIC_SEQ_CST) && asker->place == 2) {
        fuzz_reached("answer-in-a-nested-poll");
    }
    __atomic_fetch_sub(&asker->world->asked[asker->place], 1, __ATOMIC_SEQ_CST);
    if (asker->way == BY_FD && asker->place == 2 && !asker->external) {
        scenario_add(&asker->world->asked_by_fd, -1);
    }
    qemu_mutex_lock(&asker->lock);
    fuzz_check(asker->asked);
    asker->asked = false;
    asker->answers++;
    qemu_cond_signal(&asker->answered);
    qemu_mutex_unlock(&asker->lock);
    if (asker->place != 2 && ++asker->world->answered == asker->world->expected) {
        qemu_notify_event(); /* as for any other condition on which QEMU's main loop ends: a vCPU thread may have answered */
    }
}

static bool wants(Asker *asker, Way way, unsigned place)
{
    bool asked;

    qemu_mutex_lock(&asker->lock);
    asked = asker->asked && asker->way == way && asker->place == place;
    qemu_mutex_unlock(&asker->lock);
    return asked;
}

typedef struct Shared {
    World *world;
    unsigned place;
} Shared;

/* One request a run; asks for another run if there may be more, as a device's queue handler does. */
static void shared_bh(void *opaque)
{
    Shared *shared = opaque;
    World *world = shared->world;

    for (unsigned i = 0; i < world->asker_count; i++) {
        if (wants(&world->askers[i], BY_SHARED_BH, shared->place)) {
            answer(&world->askers[i]);
            qemu_bh_schedule(world->shared_bh[shared->place]);
            return;
        }
    }
}

static void oneshot_bh(void *opaque)
{
    answer(opaque);
}

/* The handler takes itself out, in the thread that polls it: then nobody polls the descriptor when it is closed. */
static void fd_ready(void *opaque)
{
    Asker *asker = opaque;

    fuzz_check(!__atomic_load_n(&asker->drained, __ATOMIC_SEQ_CST));
    if (event_notifier_test_and_clear(&asker->notifier)) {
        aio_set_fd_handler(asker->ctx, event_notifier_get_fd(&asker->notifier), NULL, NULL, NULL, NULL, NULL);
        answer(asker);
    }
}

static void file_ready(void *opaque)
{
    Asker *asker = opaque;

    aio_set_fd_handler(asker->ctx, asker->file, NULL, NULL, NULL, NULL, NULL);
    answer(asker);
}

/* A handler that its asker removes. */
static void fd_ready_again(void *opaque)
{
    Asker *asker = opaque;

    if (event_notifier_test_and_clear(&asker->notifier)) {
        answer(asker);
    }
}

static bool fd_poll(void *opaque)
{
    Asker *asker = opaque;

    return qatomic_read(&asker->flag);
}

/* A descriptor that stays, so that it is polled in user space from its second event on. */
static void polled_fd_ready(void *opaque)
{
    Asker *asker = opaque;

    if (asker->busy && scenario_get(&asker->world->asked_by_fd) > 0) {
        fuzz_reached("polled-handler-always-has-something");
        return;
    }
    qatomic_set(&asker->flag, false);
    if (event_notifier_test_and_clear(&asker->notifier)) {
        answer(asker);
    }
}

static void quiet_fd_begin(void *opaque)
{
    Asker *asker = opaque;

    qatomic_set(&asker->kicks_off, true);
}

/*
 * ORDER: kicks_off before io_poll looks at flag once more
 * PAIRS: ask_quietly()
 * ELSE:  the asker does not kick and the loop does not look
 */
static void quiet_fd_end(void *opaque)
{
    Asker *asker = opaque;

    qatomic_set(&asker->kicks_off, false);
    smp_mb();
}

static void quiet_fd_ready(void *opaque)
{
    Asker *asker = opaque;

    event_notifier_test_and_clear(&asker->notifier);
    if (qatomic_xchg(&asker->flag, false)) {
        answer(asker);
    }
}

/* As a driver that waits for one more completion in its handler: polls before it has changed what io_poll looks at. The
 * descriptor is readable, or about to be: this ends. */
static void fd_poll_ready(void *opaque)
{
    Asker *asker = opaque;

    __atomic_fetch_add(&asker->world->nested_polls, 1, __ATOMIC_SEQ_CST);
    aio_poll(asker->ctx, true);
    __atomic_fetch_sub(&asker->world->nested_polls, 1, __ATOMIC_SEQ_CST);
    polled_fd_ready(asker);
}

/* In the thread that polls it; ends the last wait of the asker, which is no request. */
static void remove_polled_fd(void *opaque)
{
    Asker *asker = opaque;

    aio_set_fd_handler(asker->ctx, event_notifier_get_fd(&asker->notifier), NULL, NULL, NULL, NULL, NULL);
    asker->answers--; /* its thread sleeps */
    answer(asker);
}

static void timer_answers(void *opaque)
{
    answer(opaque);
}

static void flag_bh(void *opaque)
{
    Asker *asker = opaque;

    qatomic_set(&asker->flag, true);
    aio_wait_kick();
}

static void nothing_bh(void *opaque)
{
    (void)opaque;
}

/* ---- askers: threads of their own */

static void begin_request(Asker *asker)
{
    if (__atomic_add_fetch(&asker->world->asked[asker->place], 1, __ATOMIC_SEQ_CST) > 1) {
        fuzz_reached("two-requests-in-one-context");
    }
    qemu_mutex_lock(&asker->lock);
    asker->asked = true;
    qemu_mutex_unlock(&asker->lock);
}

static void wait_for_answer(Asker *asker)
{
    qemu_mutex_lock(&asker->lock);
    while (asker->asked) {
        qemu_cond_wait(&asker->answered, &asker->lock);
    }
    qemu_mutex_unlock(&asker->lock);
}

/* It is given up where the kernel refuses a descriptor, and for nothing else. Where it comes later, this thread is not to look. */
static void look_at_epoll(World *world, AioContext *ctx)
{
    if (world->epoll_later) {
        return;
    }
    if (aio_context_uses_epoll(ctx)) {
        fuzz_reached("handler-set-while-the-loop-has-epoll");
        scenario_set(&world->has_epoll, 1);
    } else {
        fuzz_check(!scenario_get(&world->has_epoll) || world->fd_kind == FD_FILE);
    }
}

static void ask_by_fd(Asker *asker)
{
    World *world = asker->world;

    if (asker->place == 2) {
        look_at_epoll(world, asker->ctx);
    }
    if (asker->file >= 0) {
        aio_set_fd_handler(asker->ctx, asker->file, file_ready, NULL, NULL, NULL, asker);
        return;
    }
    aio_set_fd_handler(asker->ctx, event_notifier_get_fd(&asker->notifier),
                       world->fd_kind == FD_STAYS ? fd_ready_again : fd_ready, NULL, NULL, NULL, asker);
    event_notifier_set(&asker->notifier);
    scenario_add(&world->asked_by_fd, asker->place == 2);
}

/* As a client's connection whose device is in a drained section: the loop may sleep without it until the section ends. */
static void ask_by_external_fd(Asker *asker)
{
    if (__atomic_add_fetch(&asker->world->sections, 1, __ATOMIC_SEQ_CST) > 1) {
        fuzz_reached("drained-sections-overlap");
    }
    aio_disable_external(asker->ctx);
    event_notifier_set(&asker->notifier);
    __atomic_store_n(&asker->drained, true, __ATOMIC_SEQ_CST); /* its handler is set after it, so no call of it is under way */
    aio_set_external_fd_handler(asker->ctx, event_notifier_get_fd(&asker->notifier), fd_ready, NULL, asker);
    __atomic_store_n(&asker->drained, false, __ATOMIC_SEQ_CST);
    aio_enable_external(asker->ctx);
    __atomic_fetch_sub(&asker->world->sections, 1, __ATOMIC_SEQ_CST);
}

static void ask_quietly(Asker *asker)
{
    qatomic_set(&asker->flag, true);
    /* ORDER: flag before reading kicks_off
     * PAIRS: quiet_fd_end() */
    smp_mb();
    if (qatomic_read(&asker->kicks_off)) {
        fuzz_reached("request-without-a-kick");
    } else {
        event_notifier_set(&asker->notifier);
    }
}

static void ask_by_polled_fd(Asker *asker)
{
    if (asker->quiet) {
        ask_quietly(asker);
        return;
    }
    qatomic_set(&asker->flag, true);
    event_notifier_set(&asker->notifier);
}

static void ask_by_timer(Asker *asker)
{
    QEMUTimer *timer = aio_timer_new(asker->ctx, QEMU_CLOCK_REALTIME, 1, timer_answers, asker);

    timer_mod(timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + TIMER_NS);
    wait_for_answer(asker);
    timer_del(timer);
    timer_free(timer);
}

static void never_comes(void *opaque)
{
    (void)opaque;
    fuzz_check(false);
}

/* A long time passes only when nobody can run; the one timer goes with the other, without being stopped before. */
static void ask_by_many_timers(Asker *asker)
{
    QEMUTimer *timer = aio_timer_new(asker->ctx, QEMU_CLOCK_REALTIME, 1, timer_answers, asker);
    QEMUTimer *never = aio_timer_new(asker->ctx, QEMU_CLOCK_REALTIME, 1, never_comes, NULL);
    uint64_t begin_ns = fuzz_time_ns();
    int64_t now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    timer_mod_anticipate_ns(timer, now_ns + LONG_NS);
    timer_mod_anticipate_ns(timer, now_ns + TIMER_NS);
    timer_mod(never, now_ns + LONG_NS);
    timer_mod_anticipate_ns(timer, now_ns + LONG_NS); /* later: it stays as it is, or has come */
    wait_for_answer(asker);
    fuzz_check(fuzz_time_ns() - begin_ns < LONG_NS / 2);
    timer_free(timer);
    timer_free(never);
}

static void ask(Asker *asker)
{
    begin_request(asker);
    switch (asker->way) {
    case BY_SHARED_BH:
        qemu_bh_schedule(asker->world->shared_bh[asker->place]);
        break;
    case BY_ONESHOT_BH:
        aio_bh_schedule_oneshot(asker->ctx, oneshot_bh, asker);
        break;
    case BY_FD:
        if (asker->external) {
            ask_by_external_fd(asker);
        } else {
            ask_by_fd(asker);
        }
        break;
    case BY_POLLED_FD:
        ask_by_polled_fd(asker);
        break;
    default:
        if (asker->many_timers) {
            ask_by_many_timers(asker);
        } else {
            ask_by_timer(asker);
        }
        return;
    }
    wait_for_answer(asker);
}

/* A vCPU thread: under the big lock it counts as the main thread, and polls the main context. */
static void poll_as_vcpu(Asker *asker, bool waits)
{
    bql_lock();
    is_vcpu = true;
    if (waits) {
        qatomic_set(&asker->flag, false);
        aio_bh_schedule_oneshot(scenario_context(&asker->world->scenario, 1), flag_bh, asker);
        AIO_WAIT_WHILE_UNLOCKED(qemu_get_aio_context(), !qatomic_read(&asker->flag));
    } else {
        if (!asker->idly) {
            aio_bh_schedule_oneshot(qemu_get_aio_context(), nothing_bh, NULL);
        }
        aio_poll(qemu_get_aio_context(), false);
    }
    bql_unlock();
}

static void coroutine_fn guest_entry(void *opaque)
{
    Asker *asker = opaque;

    qemu_mutex_lock(&asker->lock);
    asker->guests--;
    qemu_cond_signal(&asker->answered);
    qemu_mutex_unlock(&asker->lock);
}

/* In an io thread that stays. The last of the guests may end, and their thread with it, before this has returned. */
static void send_guests(void *opaque)
{
    Asker *asker = opaque;
    AioContext *visited = asker->visited;
    unsigned guests = asker->guests;

    for (unsigned i = 0; i < guests; i++) {
        aio_co_schedule(visited, qemu_coroutine_create(guest_entry, asker));
    }
}

static void have_guests(Asker *asker, IOThread *thread)
{
    asker->guests = GUESTS;
    asker->visited = iothread_get_aio_context(thread);
    aio_bh_schedule_oneshot(asker->ctx, send_guests, asker);
    qemu_mutex_lock(&asker->lock);
    while (asker->guests) {
        qemu_cond_wait(&asker->answered, &asker->lock);
    }
    qemu_mutex_unlock(&asker->lock);
}

/* To the thread that comes and goes. */
static void set_asked(Asker *asker, bool asked)
{
    qemu_mutex_lock(&asker->lock);
    asker->asked = asked;
    qemu_cond_signal(&asker->answered);
    qemu_mutex_unlock(&asker->lock);
}

static gboolean served_by_glib(gpointer opaque)
{
    glib_source_enter(g_main_current_source());
    set_asked(opaque, false);
    glib_source_leave(g_main_current_source());
    return G_SOURCE_REMOVE;
}

/* The first call is for the event, the second for what io_poll says, or the next event; there is no third one, whatever loop comes then. */
static void polled_twice(void *opaque)
{
    Asker *asker = opaque;

    event_notifier_test_and_clear(&asker->notifier);
    asker->calls++;
    fuzz_check(asker->calls <= 2);
    if (asker->calls == 1) {
        qatomic_set(&asker->flag, true);
        event_notifier_set(&asker->notifier);
    } else {
        qatomic_set(&asker->flag, false);
        set_asked(asker, false);
    }
}

static void be_polled(Asker *asker, AioContext *ctx)
{
    fuzz_reached("descriptor-was-polled-before-the-loop-is-glibs");
    asker->calls = 0;
    aio_context_set_poll_params(ctx, POLL_ROUNDS);
    set_asked(asker, true);
    aio_set_fd_handler(ctx, event_notifier_get_fd(&asker->notifier), polled_twice, NULL, fd_poll, polled_twice, asker);
    event_notifier_set(&asker->notifier);
    wait_for_answer(asker);
}

/* In the thread. */
static void be_polled_no_more(void *opaque)
{
    Asker *asker = opaque;

    aio_set_fd_handler(qemu_get_current_aio_context(), event_notifier_get_fd(&asker->notifier), NULL, NULL, NULL, NULL, NULL);
    set_asked(asker, false);
}

/* The thread's loop is GLib's from now on, though it sleeps in its own. */
static void ask_glib(Asker *asker, GMainContext *context)
{
    GSource *source = g_idle_source_new();

    fuzz_reached("source-in-a-thread-that-sleeps-without-glib");
    set_asked(asker, true);
    g_source_set_callback(source, served_by_glib, asker, NULL);
    glib_source_attach(source, context);
    g_source_unref(source);
    wait_for_answer(asker);
}

/* An io thread that is stopped again at once, or when it has served a source, or when those have ended that another thread has sent. */
static void come_and_go(Asker *asker)
{
    IOThread *thread = asker->with_glib ? iothread_new_with_g_main_context("passer-by") : iothread_new("passer-by");
    GMainContext *context = NULL;

    fuzz_check(thread != NULL);
    if (asker->polls_first) {
        be_polled(asker, iothread_get_aio_context(thread));
    }
    if (asker->with_glib) {
        context = iothread_get_g_main_context(thread);
    }
    if (context && asker->place == 1) {
        ask_glib(asker, context);
    }
    if (asker->polls_first) {
        set_asked(asker, true);
        aio_bh_schedule_oneshot(iothread_get_aio_context(thread), be_polled_no_more, asker);
        wait_for_answer(asker);
    }
    if (asker->place == 2) {
        have_guests(asker, thread);
    }
    iothread_destroy(thread);
}

static void be_polled_in_user_space(Asker *asker)
{
    int fd = event_notifier_get_fd(&asker->notifier);

    if (asker->quiet) {
        aio_set_fd_handler(asker->ctx, fd, quiet_fd_ready, NULL, fd_poll, quiet_fd_ready, asker);
        aio_set_fd_poll(asker->ctx, fd, quiet_fd_begin, quiet_fd_end);
    } else {
        aio_set_fd_handler(asker->ctx, fd, polled_fd_ready, NULL, fd_poll, asker->busy ? polled_fd_ready : fd_poll_ready, asker);
    }
}

static void *asker_thread(void *opaque)
{
    Asker *asker = opaque;

    if (asker->way == BY_POLLED_FD) {
        be_polled_in_user_space(asker);
    }
    for (unsigned i = 0; i < asker->rounds; i++) {
        switch (asker->way) {
        case AS_VCPU_POLLING:
        case AS_VCPU_WAITING:
            poll_as_vcpu(asker, asker->way == AS_VCPU_WAITING);
            break;
        case BY_THREAD:
            come_and_go(asker);
            break;
        default:
            ask(asker);
            break;
        }
    }
    if (asker->way == BY_POLLED_FD) {
        begin_request(asker);
        aio_bh_schedule_oneshot(asker->ctx, remove_polled_fd, asker);
        wait_for_answer(asker);
    }
    if (asker->way == BY_FD && asker->world->fd_kind == FD_STAYS) {
        aio_set_fd_handler(asker->ctx, event_notifier_get_fd(&asker->notifier), NULL, NULL, NULL, NULL, NULL);
    }
    return NULL;
}

/* ---- the scenario */

static bool asks_main(const Asker *asker)
{
    return asker->place != 2 && asker->way < AS_VCPU_POLLING;
}

static int open_file(void)
{
    const char *path = fuzz_file("file");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    fuzz_check(fd >= 0);
    unlink(path);
    return fd;
}

static void read_asker(FuzzInput *in, World *world, Asker *asker)
{
    uint8_t flags = fuzz_byte(in);

    asker->world = world;
    asker->way = (Way)(flags % WAYS);
    asker->rounds = 1 + (flags >> 3 & 3);
    asker->place = (flags >> 5) % 3;
    asker->with_glib = asker->idly = flags & 128;
    asker->external = asker->way == BY_FD && asker->place == 2 && flags & 128;
    asker->polls_first = asker->way == BY_THREAD && flags >> 5 == 4;
    asker->many_timers = asker->way == BY_TIMER && flags & 128;
    if (asker->way == BY_POLLED_FD) {
        asker->place = 2; /* GLib does not poll in user space */
        asker->quiet = flags & 32;
        asker->rounds += asker->quiet ? QUIET_ROUNDS : 0;
        asker->busy = !asker->quiet && flags & 128;
    }
    asker->ctx = asker->place == 0   ? qemu_get_aio_context()
                 : asker->place == 1 ? iohandler_get_aio_context()
                                     : scenario_context(&world->scenario, 1);
    qemu_mutex_init(&asker->lock);
    qemu_cond_init(&asker->answered);
    fuzz_check(event_notifier_init(&asker->notifier, false) == 0);
    asker->file = asker->way == BY_FD && world->fd_kind == FD_FILE ? open_file() : -1;
    world->expected += asks_main(asker) ? asker->rounds : 0;
}

static void free_asker(Asker *asker)
{
    fuzz_check(asker->answers == (asker->way < AS_VCPU_POLLING ? asker->rounds : 0));
    event_notifier_cleanup(&asker->notifier);
    if (asker->file >= 0) {
        close(asker->file);
    }
    qemu_cond_destroy(&asker->answered);
    qemu_mutex_destroy(&asker->lock);
}

static void serve(World *world, unsigned nested)
{
    while (world->answered < world->expected) {
        main_loop_wait(false);
        if (nested) {
            nested--;
            aio_poll(qemu_get_aio_context(), false);
        }
    }
    /* the others may need the big lock to end */
    bql_unlock();
    for (unsigned i = 0; i < world->asker_count; i++) {
        qemu_thread_join(&world->askers[i].thread);
    }
    bql_lock();
}

/* The kernel has no more descriptors: no thread comes, and nothing of it stays. Before others are there who need one. */
static void fail_to_make_a_thread(void)
{
    int fds[DESCRIPTORS_MAX];
    unsigned count = 0;

    while (count < DESCRIPTORS_MAX && (fds[count] = eventfd(0, EFD_CLOEXEC)) >= 0) {
        count++;
    }
    if (count < DESCRIPTORS_MAX) {
        fuzz_reached("no-descriptor-is-left-for-a-thread");
        fuzz_check(errno == EMFILE);
        fuzz_check(iothread_new("nobody") == NULL);
    }
    while (count > 0) {
        close(fds[--count]);
    }
}

/* In the io thread. */
static void switch_epoll_on(void *opaque)
{
    World *world = opaque;

    fuzz_check(aio_context_set_epoll(scenario_context(&world->scenario, 1), world->epoll_from) == 0);
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    Shared shared[3];
    unsigned asker_count = 1 + fuzz_choice(in, ASKERS_MAX);
    unsigned nested = fuzz_choice(in, 4);
    uint8_t loop = fuzz_byte(in);
    bool any_quiet = false;

    scenario_begin(&world.scenario, 1);
    world.epoll_from = (loop >> 4) % 5;
    world.fd_kind = (FdKind)((loop >> 4) / 5 % FD_KINDS);
    world.epoll_later = loop & 2;
    if (asker_count == 1 && (loop & 15) == 4) { /* seldom: it takes a thousand steps, in which schedules have nothing to decide */
        fail_to_make_a_thread();
    }
    if (world.epoll_from && !world.epoll_later) {
        aio_wait_bh_oneshot(scenario_context(&world.scenario, 1), switch_epoll_on, &world);
    }
    for (unsigned place = 0; place < 3; place++) {
        AioContext *ctx = place == 2   ? scenario_context(&world.scenario, 1)
                          : place == 1 ? iohandler_get_aio_context()
                                       : qemu_get_aio_context();

        shared[place] = (Shared){ &world, place };
        world.shared_bh[place] = aio_bh_new(ctx, shared_bh, &shared[place]);
    }
    for (unsigned i = 0; i < asker_count; i++) {
        read_asker(in, &world, &world.askers[i]);
        any_quiet = any_quiet || world.askers[i].quiet;
    }
    aio_context_set_poll_params(scenario_context(&world.scenario, 1), any_quiet || loop & 1 ? POLL_ROUNDS : 0);
    world.asker_count = asker_count;
    for (unsigned i = 0; i < asker_count; i++) {
        qemu_thread_create(&world.askers[i].thread, "asker", asker_thread, &world.askers[i], QEMU_THREAD_JOINABLE);
    }
    if (world.epoll_from && world.epoll_later) {
        aio_bh_schedule_oneshot(scenario_context(&world.scenario, 1), switch_epoll_on, &world);
    }
    serve(&world, nested);
    for (unsigned place = 0; place < 3; place++) {
        qemu_bh_delete(world.shared_bh[place]);
    }
    while (aio_poll(iohandler_get_aio_context(), false)) {
        /* deleted bottom halves are freed by their loop */
    }
    scenario_end(&world.scenario);
    for (unsigned i = 0; i < asker_count; i++) {
        free_asker(&world.askers[i]); /* not before the io thread has ended: a bottom half may look once more */
    }
}

static const char *const windows[] = {
    "two-requests-in-one-context",
    "vcpu-answers-for-the-main-thread",
    "answer-in-a-nested-poll",
    "handler-set-while-the-loop-has-epoll",
    "drained-sections-overlap",
    "polled-handler-always-has-something",
    "request-without-a-kick",
    "source-in-a-thread-that-sleeps-without-glib",
    "descriptor-was-polled-before-the-loop-is-glibs",
    "no-descriptor-is-left-for-a-thread",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "aio_context", .run = run, .windows = windows };
