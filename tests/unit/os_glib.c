/* GLib's shared object, which knows nothing of us, runs on the simulated OS too: its locks are futexes, its loops
 * poll eventfds. */
#include "os_test.h"

#include <glib.h>
#include <glib-unix.h>
#include <sys/eventfd.h>
#include <unistd.h>

static GMutex mutex;
static GCond cond, back;
static int turn, total;

static gpointer add(gpointer unused)
{
    for (int i = 0; i < 20; i++) {
        g_mutex_lock(&mutex);
        int seen = total;
        g_thread_yield();
        total = seen + 1;
        g_mutex_unlock(&mutex);
    }
    return unused;
}

static void mutexes(void)
{
    GThread *threads[3];

    total = 0;
    for (int i = 0; i < 3; i++) {
        threads[i] = g_thread_new("adder", add, NULL);
    }
    for (int i = 0; i < 3; i++) {
        g_thread_join(threads[i]);
    }
    say("total %d", total);
}

static gpointer answer(gpointer unused)
{
    for (int i = 0; i < 10; i++) {
        g_mutex_lock(&mutex);
        while (turn != 1) {
            g_cond_wait(&cond, &mutex);
        }
        turn = 0;
        g_cond_signal(&back);
        g_mutex_unlock(&mutex);
    }
    return unused;
}

static void conditions(void)
{
    GThread *thread;

    turn = 0;
    thread = g_thread_new("answers", answer, NULL);
    for (int i = 0; i < 10; i++) {
        g_mutex_lock(&mutex);
        turn = 1;
        g_cond_signal(&cond);
        while (turn != 0) {
            g_cond_wait(&back, &mutex);
        }
        g_mutex_unlock(&mutex);
    }
    g_thread_join(thread);
    g_mutex_lock(&mutex);
    say("in time %d", g_cond_wait_until(&cond, &mutex, g_get_monotonic_time() + 5000));
    g_mutex_unlock(&mutex);
}

static GMainLoop *loop;
static int dispatched;

static gboolean count_and_quit(gpointer unused)
{
    dispatched++;
    if (dispatched == 3) {
        g_main_loop_quit(loop);
    }
    return unused ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static gpointer run_loop(gpointer context)
{
    g_main_context_push_thread_default(context);
    g_main_loop_run(loop);
    g_main_context_pop_thread_default(context);
    return NULL;
}

/* the loop sleeps in poll; each invocation from here has to wake it */
static void main_loop_in_a_thread(void)
{
    GMainContext *context = g_main_context_new();
    GThread *thread;

    dispatched = 0;
    loop = g_main_loop_new(context, FALSE);
    thread = g_thread_new("loop", run_loop, context);
    for (int i = 0; i < 3; i++) {
        GSource *source = g_idle_source_new();

        g_source_set_callback(source, count_and_quit, NULL, NULL);
        g_source_attach(source, context);
        g_source_unref(source);
    }
    g_thread_join(thread);
    say("dispatched %d", dispatched);
    g_main_loop_unref(loop);
    g_main_context_unref(context);
}

static gboolean on_event(gint fd, GIOCondition condition, gpointer unused)
{
    eventfd_t value;

    say("condition %x, read %d", condition, eventfd_read(fd, &value));
    g_main_loop_quit(loop);
    return unused ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static gpointer write_event(gpointer fd)
{
    eventfd_write(GPOINTER_TO_INT(fd), 1);
    return NULL;
}

static gboolean on_time(gpointer unused)
{
    say("time-out");
    g_main_loop_quit(loop);
    return unused ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void sources(void)
{
    GMainContext *context = g_main_context_new();
    int fd = eventfd(0, 0);
    GSource *source;
    GThread *thread;

    loop = g_main_loop_new(context, FALSE);
    source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(on_event), NULL, NULL);
    g_source_attach(source, context);
    g_source_unref(source);
    thread = g_thread_new("writer", write_event, GINT_TO_POINTER(fd));
    g_main_loop_run(loop);
    g_thread_join(thread);
    source = g_timeout_source_new(5);
    g_source_set_callback(source, on_time, NULL, NULL);
    g_source_attach(source, context);
    g_source_unref(source);
    g_main_loop_run(loop);
    g_main_loop_unref(loop);
    g_main_context_unref(context);
    close(fd);
}

static gpointer produce(gpointer queue)
{
    for (int i = 1; i <= 10; i++) {
        g_async_queue_push(queue, GINT_TO_POINTER(i));
    }
    return NULL;
}

static void async_queue(void)
{
    GAsyncQueue *queue = g_async_queue_new();
    GThread *thread = g_thread_new("producer", produce, queue);

    for (int i = 1; i <= 10; i++) {
        say("popped %d", GPOINTER_TO_INT(g_async_queue_pop(queue)));
    }
    g_thread_join(thread);
    say("more %d", g_async_queue_timeout_pop(queue, 5000) != NULL);
    g_async_queue_unref(queue);
}

static void destroyed(gpointer text)
{
    say("destroyed %s", (const char *)text);
}

static GPrivate private = G_PRIVATE_INIT(destroyed);

static gpointer use_private(gpointer unused)
{
    say("before %d", g_private_get(&private) != NULL);
    g_private_set(&private, "private");
    return unused;
}

static void privates(void)
{
    for (int i = 0; i < 2; i++) {
        g_thread_join(g_thread_new("private", use_private, NULL));
    }
}

static gpointer initialize(gpointer unused)
{
    g_thread_yield();
    total++;
    return unused;
}

static gpointer initialize_once(gpointer once)
{
    g_once((GOnce *)once, initialize, NULL);
    return GINT_TO_POINTER(total);
}

static void once(void)
{
    GOnce flag = G_ONCE_INIT;
    GThread *one, *two;

    total = 0;
    one = g_thread_new("one", initialize_once, &flag);
    two = g_thread_new("two", initialize_once, &flag);
    say("saw %d", GPOINTER_TO_INT(g_thread_join(one)));
    say("saw %d", GPOINTER_TO_INT(g_thread_join(two)));
}

static GRWLock rwlock;
static GRecMutex recursive;

static gpointer read_then_leave(gpointer unused)
{
    g_rw_lock_reader_lock(&rwlock);
    total++;
    g_rw_lock_reader_unlock(&rwlock);
    return unused;
}

static void other_locks(void)
{
    GThread *thread;

    g_rw_lock_writer_lock(&rwlock);
    total = 5;
    thread = g_thread_new("reader", read_then_leave, NULL);
    say("as written %d", total);
    g_rw_lock_writer_unlock(&rwlock);
    g_thread_join(thread);
    g_rec_mutex_lock(&recursive);
    say("again %d", g_rec_mutex_trylock(&recursive));
    g_rec_mutex_unlock(&recursive);
    g_rec_mutex_unlock(&recursive);
    say("total %d", total);
}

static void polling(void)
{
    int fd = eventfd(1, 0);
    GPollFD request = { .fd = fd, .events = G_IO_IN };

    say("ready %d, revents %x", g_poll(&request, 1, -1), request.revents);
    eventfd_read(fd, &(eventfd_t){ 0 });
    say("ready %d", g_poll(&request, 1, 5));
    close(fd);
}

static const OsProgram programs[] = {
    { "/os/glib/mutexes", mutexes },
    { "/os/glib/conditions", conditions },
    { "/os/glib/main-loop-in-a-thread", main_loop_in_a_thread },
    { "/os/glib/sources", sources },
    { "/os/glib/async-queue", async_queue },
    { "/os/glib/privates", privates },
    { "/os/glib/once", once },
    { "/os/glib/other-locks", other_locks },
    { "/os/glib/poll", polling },
};

int main(int argc, char **argv)
{
    if (OS_TEST_TSAN) {
        return os_test_skip("GLib is not instrumented: TSan does not see the order that its locks make");
    }
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
