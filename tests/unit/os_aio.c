/*
 * Kernel AIO behaves as the kernel's, under every plan: on buffered files, on O_DIRECT ones, by libaio's names and by system calls, and
 * through the ring that user space reads by itself. What the simulated kernel adds, a choice of order and of faults, is asked for here
 * too.
 */
#include "os_test.h"

#include <glib.h>
#include <libaio.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "os/os.h"
#include "os_folder.h"

#define BLOCK 4096

typedef struct Ring {
    unsigned id, nr, head, tail, magic, compat, incompat, header_length;
    struct io_event events[];
} Ring;

static char blocks[8][BLOCK] __attribute__((aligned(4096)));

/* Events come in any order where requests are asynchronous: said in the order of the iocbs. */
static void say_events(const struct io_event *events, long count, struct iocb *iocbs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        for (long j = 0; j < count; j++) {
            if (events[j].obj == &iocbs[i]) {
                say("request %u: %ld %ld, data %lx", i, (long)events[j].res, (long)events[j].res2, (unsigned long)events[j].data);
            }
        }
    }
}

static void contexts(void)
{
    io_context_t ctx = NULL, gone;
    struct io_event event;
    struct timespec now = { 0 };
    const Ring *ring;

    say("%d", io_setup(0, &ctx));
    say("%d", io_setup(100000, &ctx));
    say("%d", io_setup(8, &ctx));
    ring = (const Ring *)ctx;
    say("magic %x, header %u, head %u, tail %u, room for 8: %d", ring->magic, ring->header_length, ring->head, ring->tail,
        ring->nr > 8);
    say("%x %x", ring->compat, ring->incompat);
    gone = ctx;
    say("%d", io_setup(8, &ctx)); /* not NULL */
    say("%d", io_getevents(ctx, 0, 1, &event, &now));
    say("%d", io_getevents(ctx, 2, 1, &event, &now));
    say("%d", io_getevents(ctx, -1, 1, &event, &now));
    say("%d", io_submit(ctx, 0, NULL));
    say("%d", io_submit(ctx, -1, NULL));
    say("%d", io_destroy(ctx));
    say("%d", io_destroy(gone));
    say("%d", io_submit(gone, 0, NULL));
    say("%d", io_queue_init(-1, &ctx));
    say("%d", io_queue_init(4, &ctx));
    say("%d", io_queue_release(ctx));
}

/* A buffered request is done when io_submit returns: its event is in the ring, and the eventfd is told. */
static void buffered(void)
{
    int fd = open("buffered", O_RDWR | O_CREAT, 0600), event_fd = eventfd(0, EFD_NONBLOCK);
    struct iocb iocbs[3], *list[] = { &iocbs[0], &iocbs[1], &iocbs[2] };
    struct pollfd request = { .fd = event_fd, .events = POLLIN };
    struct io_event events[4];
    io_context_t ctx = NULL;
    char text[16] = "";
    struct iovec vector[2] = { { text, 2 }, { text + 8, 3 } };
    eventfd_t value = 0;
    Ring *ring;

    io_setup(4, &ctx);
    ring = (Ring *)ctx;
    io_prep_pwrite(&iocbs[0], fd, "hello", 5, 3);
    io_prep_pread(&iocbs[1], fd, text, 16, 3);
    io_prep_preadv(&iocbs[2], fd, vector, 2, 3);
    for (unsigned i = 0; i < 3; i++) {
        iocbs[i].data = (void *)(0x100ul + i);
        io_set_eventfd(&iocbs[i], event_fd);
    }
    say("submitted %d", io_submit(ctx, 3, list));
    say("head %u tail %u", ring->head, ring->tail);
    say_events(ring->events, 1, iocbs, 3);
    SYS(poll(&request, 1, 0));
    SYS(eventfd_read(event_fd, &value));
    say("value %lu", (unsigned long)value);
    ring->head = (ring->head + 1) % ring->nr; /* as user space may */
    say("left %d", io_getevents(ctx, 1, 4, events, NULL));
    say_events(events, 2, iocbs, 3);
    say("head %u tail %u", ring->head, ring->tail);
    say("%.5s %.3s", text, text + 8);
    say("destroyed %d", io_destroy(ctx));
    close(event_fd);
    close(fd);
    unlink("buffered");
}

/* What is wrong with an iocb is io_submit's error, and ends the batch; what is wrong with the transfer is the event's. */
static void refused(void)
{
    int fd = open("refused", O_RDWR | O_CREAT, 0600), reader = open("refused", O_RDONLY), event_fd = eventfd(0, 0);
    struct iocb iocbs[3], *list[] = { &iocbs[0], &iocbs[1], &iocbs[2] };
    struct io_event events[4];
    io_context_t ctx = NULL;
    char text[16];

    io_setup(4, &ctx);
    io_prep_pwrite(&iocbs[0], 900, "x", 1, 0);
    say("no file %d", io_submit(ctx, 1, list));
    io_prep_pwrite(&iocbs[0], reader, "x", 1, 0);
    say("not writable %d", io_submit(ctx, 1, list));
    io_prep_pwrite(&iocbs[0], fd, "x", 1, 0);
    iocbs[0].aio_lio_opcode = 77;
    say("no operation %d", io_submit(ctx, 1, list));
    io_prep_pwrite(&iocbs[0], fd, "x", 1, 0);
    io_set_eventfd(&iocbs[0], 901);
    say("no eventfd %d", io_submit(ctx, 1, list));
    io_prep_pwrite(&iocbs[0], fd, "x", 1, 0);
    io_set_eventfd(&iocbs[0], fd);
    say("not an eventfd %d", io_submit(ctx, 1, list));
    io_prep_pread(&iocbs[0], fd, text, 1, 0);
    io_prep_pread(&iocbs[1], fd, text, 1, -1);
    io_prep_pread(&iocbs[2], 900, text, 1, 0);
    say("one of three %d", io_submit(ctx, 3, list));
    say("no offset %d", io_submit(ctx, 2, list + 1));
    say("no file %d", io_submit(ctx, 1, list + 2));
    say("events %d", io_getevents(ctx, 1, 4, events, NULL));
    say_events(events, 1, iocbs, 3);
    say("cancel %d", io_cancel(ctx, &iocbs[0], events));
    io_destroy(ctx);
    close(event_fd);
    close(reader);
    close(fd);
    unlink("refused");
}

static void syncs(void)
{
    int fd = open("syncs", O_RDWR | O_CREAT, 0600);
    struct iocb iocbs[2], *list[] = { &iocbs[0], &iocbs[1] };
    struct io_event events[4];
    io_context_t ctx = NULL;

    io_setup(4, &ctx);
    io_prep_fsync(&iocbs[0], fd);
    io_prep_fdsync(&iocbs[1], fd);
    say("submitted %d", io_submit(ctx, 2, list));
    say("events %d", io_getevents(ctx, 2, 4, events, NULL));
    say_events(events, 2, iocbs, 2);
    io_destroy(ctx);
    close(fd);
    unlink("syncs");
}

static void by_system_calls(void)
{
    int fd = open("calls", O_RDWR | O_CREAT, 0600);
    struct iocb iocb, *list[] = { &iocb };
    struct io_event event;
    unsigned long ctx = 0;

    SYS(syscall(SYS_io_setup, 0, &ctx));
    SYS(syscall(SYS_io_setup, 4, &ctx));
    io_prep_pwrite(&iocb, fd, "abc", 3, 0);
    SYS(syscall(SYS_io_submit, ctx, 1, list));
    SYS(syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL));
    say_events(&event, 1, &iocb, 1);
    SYS(syscall(SYS_io_cancel, ctx, &iocb, &event));
    iocb.aio_fildes = 900;
    SYS(syscall(SYS_io_submit, ctx, 1, list));
    SYS(syscall(SYS_io_destroy, ctx));
    SYS(syscall(SYS_io_destroy, ctx));
    SYS(close(fd));
    SYS(unlink("calls"));
}

static void direct(void)
{
    int fd = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0600), event_fd = eventfd(0, 0);
    struct iocb iocbs[6], *list[] = { &iocbs[0], &iocbs[1], &iocbs[2], &iocbs[3], &iocbs[4], &iocbs[5] };
    struct io_event events[8];
    io_context_t ctx = NULL;
    eventfd_t value, sum = 0;

    io_setup(8, &ctx);
    for (unsigned i = 0; i < 4; i++) {
        memset(blocks[i], 'a' + (int)i, BLOCK);
        io_prep_pwrite(&iocbs[i], fd, blocks[i], BLOCK, BLOCK * (int)i);
        io_set_eventfd(&iocbs[i], event_fd);
    }
    io_prep_pwrite(&iocbs[4], fd, blocks[4], 100, 0);
    io_prep_pwrite(&iocbs[5], fd, blocks[5] + 1, BLOCK, 0);
    say("submitted %d", io_submit(ctx, 6, list));
    while (sum < 4) {
        eventfd_read(event_fd, &value);
        sum += value;
    }
    say("events %d", io_getevents(ctx, 6, 8, events, NULL));
    say_events(events, 6, iocbs, 6);
    for (unsigned i = 0; i < 3; i++) {
        io_prep_pread(&iocbs[i], fd, blocks[i + 4], BLOCK, BLOCK * (3 - (int)i));
    }
    io_prep_pread(&iocbs[3], fd, blocks[7], BLOCK, 4 * BLOCK); /* behind the end */
    say("submitted %d", io_submit(ctx, 4, list));
    say("events %d", io_getevents(ctx, 4, 8, events, NULL));
    say_events(events, 4, iocbs, 4);
    say("%c %c %c", blocks[4][0], blocks[5][0], blocks[6][BLOCK - 1]);
    io_destroy(ctx);
    close(event_fd);
    close(fd);
    unlink("direct");
}

typedef struct Collector {
    io_context_t ctx;
    unsigned count;
} Collector;

static void *collect(void *opaque)
{
    Collector *collector = opaque;
    struct io_event event;

    while (collector->count < 4) {
        collector->count += (unsigned)io_getevents(collector->ctx, 1, 1, &event, NULL);
    }
    return NULL;
}

/* A thread that sleeps in io_getevents is woken; io_destroy waits for what is in flight; descriptors may be closed meanwhile. */
static void threads(void)
{
    int fd = open("threads", O_RDWR | O_CREAT | O_DIRECT, 0600);
    struct iocb iocbs[4], *one[1];
    Collector collector = { 0 };
    pthread_t thread;

    io_setup(8, &collector.ctx);
    thread = start(collect, &collector);
    for (unsigned i = 0; i < 4; i++) {
        io_prep_pwrite(&iocbs[i], fd, blocks[i], BLOCK, BLOCK * (int)i);
        one[0] = &iocbs[i];
        say("submitted %d", io_submit(collector.ctx, 1, one));
    }
    finish(thread);
    say("collected %u", collector.count);
    say("submitted %d", io_submit(collector.ctx, 1, one));
    close(fd);
    say("destroyed %d", io_destroy(collector.ctx));
    fd = open("threads", O_RDONLY);
    say("written %d", pread(fd, blocks[7], 1, 3 * BLOCK) == 1);
    close(fd);
    unlink("threads");
}

/* ---- what the simulated kernel adds */

static SchedPlan plan_of(unsigned seed)
{
    return (SchedPlan){ .base = SCHED_BASE_WALK, .seed = seed, .parameter = 1 };
}

typedef struct Observed {
    unsigned faults;
    unsigned orders[3], inside, errors, shorts, batches, refusals, refused;
} Observed;

#define FLIGHT 3

static void submit_flight(io_context_t ctx, int fd, struct iocb *iocbs, Observed *observed)
{
    struct iocb *list[FLIGHT];
    int done = 0;

    for (int i = 0; i < FLIGHT; i++) {
        io_prep_pwrite(&iocbs[i], fd, blocks[i], BLOCK, BLOCK * i);
        list[i] = &iocbs[i];
    }
    while (done < FLIGHT) {
        int ret = io_submit(ctx, FLIGHT - done, list + done);

        observed->batches += ret > 0 && ret < FLIGHT - done;
        observed->refusals += ret == -EAGAIN;
        observed->refused += ret == -ENOMEM;
        done += ret > 0 ? ret : 0;
    }
}

static void fly(void *opaque)
{
    Observed *observed = opaque;
    int fd = open("flight", O_RDWR | O_CREAT | O_DIRECT, 0600);
    struct iocb iocbs[FLIGHT];
    struct io_event events[FLIGHT];
    io_context_t ctx = NULL;

    os_aio_set_faults(observed->faults);
    g_assert_cmpint(io_setup(8, &ctx), ==, 0);
    submit_flight(ctx, fd, iocbs, observed);
    observed->inside += ((Ring *)ctx)->tail != 0;
    g_assert_cmpint(io_getevents(ctx, FLIGHT, FLIGHT, events, NULL), ==, FLIGHT);
    observed->orders[events[0].obj - iocbs]++;
    for (int i = 0; i < FLIGHT; i++) {
        observed->errors += (long)events[i].res == -EIO;
        observed->shorts += (long)events[i].res > 0 && events[i].res < BLOCK;
        g_assert_true((long)events[i].res == -EIO || (events[i].res % 512 == 0 && events[i].res > 0));
    }
    g_assert_cmpint(io_destroy(ctx), ==, 0);
    close(fd);
    unlink("flight");
}

static Observed fly_often(unsigned faults, unsigned seeds)
{
    Observed observed = { .faults = faults };

    for (unsigned seed = 1; seed <= seeds; seed++) {
        SchedPlan plan = plan_of(seed);
        const SchedResult *result = sched_run(fly, &observed, &plan, NULL);

        g_assert_cmpint(result->outcome, ==, SCHED_DONE);
        g_assert_cmpuint(os_aio_contexts_left(), ==, 0);
        g_assert_cmpuint(result->threads_left, ==, 0);
    }
    return observed;
}

/* 200 walks: each of three requests is the first to complete, inside io_submit and later; without being asked nothing fails. */
static void any_order(void)
{
    Observed observed = fly_often(0, 200);

    for (unsigned i = 0; i < FLIGHT; i++) {
        g_assert_cmpuint(observed.orders[i], >, 0);
    }
    g_assert_cmpuint(observed.inside, >, 0);
    g_assert_cmpuint(observed.inside, <, 200);
    g_assert_cmpuint(observed.errors + observed.shorts + observed.batches + observed.refusals, ==, 0);
}

static void faults_one_by_one(void)
{
    Observed errors = fly_often(OS_AIO_ERRORS, 100), shorts = fly_often(OS_AIO_SHORT, 100),
             batches = fly_often(OS_AIO_SHORT_BATCH, 100), refused = fly_often(OS_AIO_REFUSED, 100),
             refusals = fly_often(OS_AIO_EAGAIN | OS_AIO_SHORT_BATCH, 400);

    g_assert_cmpuint(errors.errors, >, 0);
    g_assert_cmpuint(errors.shorts + errors.batches + errors.refusals, ==, 0);
    g_assert_cmpuint(shorts.shorts, >, 0);
    g_assert_cmpuint(shorts.errors + shorts.batches + shorts.refusals, ==, 0);
    g_assert_cmpuint(batches.batches, >, 0);
    g_assert_cmpuint(batches.errors + batches.shorts + batches.refusals, ==, 0);
    g_assert_cmpuint(refused.refused, >, 0);
    g_assert_cmpuint(refused.errors + refused.shorts + refused.batches + refused.refusals, ==, 0);
    g_assert_cmpuint(refusals.refusals, >, 0);
}

/* First-in-first-out: nothing fails whatever is allowed, and requests complete in their order, when the program sleeps. */
static void first_in_first_out(void)
{
    Observed observed = { .faults = ~0u };
    const SchedResult *result = os_test_simulate(fly, &observed);

    g_assert_cmpint(result->outcome, ==, SCHED_DONE);
    g_assert_cmpuint(observed.orders[0], ==, 1);
    g_assert_cmpuint(observed.inside + observed.errors + observed.shorts + observed.batches + observed.refusals, ==, 0);
}

static void fill_the_ring(void *opaque)
{
    int fd = open("full", O_RDWR | O_CREAT, 0600);
    struct iocb iocb, *list[1] = { &iocb };
    io_context_t ctx = NULL;
    long *accepted = opaque;

    g_assert_cmpint(io_setup(1, &ctx), ==, 0);
    io_prep_pwrite(&iocb, fd, "x", 1, 0);
    while (io_submit(ctx, 1, list) == 1) {
        ++*accepted;
    }
    g_assert_cmpint(io_submit(ctx, 1, list), ==, -EAGAIN);
    g_assert_cmpint(*accepted, ==, ((Ring *)ctx)->nr - 1);
    io_destroy(ctx);
    close(fd);
    unlink("full");
}

/* A ring that is full lets nothing more in. */
static void full_ring(void)
{
    long accepted = 0;

    g_assert_cmpint(os_test_simulate(fill_the_ring, &accepted)->outcome, ==, SCHED_DONE);
    g_assert_cmpint(accepted, >, 0);
}

static void leave_in_flight(void *unused)
{
    int fd = open("left", O_RDWR | O_CREAT | O_DIRECT, 0600);
    static struct iocb iocb;
    struct iocb *list[1] = { &iocb };
    io_context_t ctx = NULL;

    (void)unused;
    io_setup(1, &ctx);
    io_prep_pwrite(&iocb, fd, blocks[0], BLOCK, 0);
    g_assert_cmpint(io_submit(ctx, 1, list), ==, 1);
}

/* The kernel keeps no execution alive, and is no thread that was left; the context is. */
static void kernel_is_no_thread(void)
{
    const SchedResult *result = os_test_simulate(leave_in_flight, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_DONE);
    g_assert_cmpuint(result->threads_left, ==, 0);
    g_assert_cmpuint(os_aio_contexts_left(), ==, 1);
    g_assert_cmpuint(os_aio_events_left(), ==, 0);
}

static void sleep_with_an_event(void *unused)
{
    int fd = open("asleep", O_RDWR | O_CREAT, 0600), event_fd = eventfd(0, 0);
    struct iocb iocb, *list[1] = { &iocb };
    io_context_t ctx = NULL;
    eventfd_t value;

    (void)unused;
    io_setup(1, &ctx);
    io_prep_pwrite(&iocb, fd, "x", 1, 0);
    g_assert_cmpint(io_submit(ctx, 1, list), ==, 1);
    eventfd_read(event_fd, &value); /* of which the request knew nothing */
}

/* What lost-completion counts: the kernel has done its part, and the program sleeps. */
static void event_that_nobody_takes(void)
{
    char text[64];

    g_assert_cmpint(os_test_simulate(sleep_with_an_event, NULL)->outcome, ==, SCHED_QUIESCENT);
    g_assert_cmpuint(os_aio_events_left(), ==, 1);
    os_describe_aio_events_left(text, sizeof(text));
    g_assert_cmpstr(text, ==, "1 in the ring of context 0");
}

static void poll_for_ever(void *unused)
{
    struct iocb iocb, *list[1] = { &iocb };
    io_context_t ctx = NULL;

    (void)unused;
    io_setup(1, &ctx);
    io_prep_poll(&iocb, eventfd(0, 0), POLLIN);
    io_submit(ctx, 1, list);
}

static void poll_is_unmodelled(void)
{
    const SchedResult *result = os_test_simulate(poll_for_ever, NULL);

    g_assert_cmpint(result->outcome, ==, SCHED_FAILED);
    g_assert_cmpstr(result->reason, ==, "unmodelled");
}

int main(int argc, char **argv)
{
    static const OsProgram programs[] = {
        { "/os/aio/contexts", contexts },
        { "/os/aio/buffered", buffered },
        { "/os/aio/refused", refused },
        { "/os/aio/syncs", syncs },
        { "/os/aio/by-system-calls", by_system_calls },
        { "/os/aio/direct", direct }, /* from here on left out where the machine cannot */
        { "/os/aio/threads", threads },
    };
    size_t count = G_N_ELEMENTS(programs);
    int status;

    folder_enter();
    if (!folder_direct()) {
        printf("# /os/aio/direct and threads are left out: the file system of this folder does not do O_DIRECT in blocks\n");
        count -= 2;
    }
    os_test_init(&argc, &argv);
    g_test_add_func("/os/aio/any-order", any_order);
    g_test_add_func("/os/aio/faults-one-by-one", faults_one_by_one);
    g_test_add_func("/os/aio/first-in-first-out", first_in_first_out);
    g_test_add_func("/os/aio/full-ring", full_ring);
    g_test_add_func("/os/aio/kernel-is-no-thread", kernel_is_no_thread);
    g_test_add_func("/os/aio/event-that-nobody-takes", event_that_nobody_takes);
    g_test_add_func("/os/aio/poll-is-unmodelled", poll_is_unmodelled);
    status = os_test_run_programs(programs, count);
    folder_leave();
    return status;
}
