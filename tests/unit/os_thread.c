/* Threads, cleanup handlers, keys and once behave as glibc's, under every plan. */
#include "os_test.h"

#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *give_back(void *value)
{
    return value;
}

static void *exit_with(void *value)
{
    pthread_exit(value);
}

static void results(void)
{
    void *value;
    pthread_t thread = start(give_back, (void *)7);

    PTH(pthread_join(thread, &value));
    say("returned %ld", (long)value);
    thread = start(exit_with, (void *)8);
    PTH(pthread_join(thread, &value));
    say("exited with %ld", (long)value);
    thread = start(give_back, NULL);
    PTH(pthread_join(thread, NULL));
    PTH_MISUSE(pthread_join(pthread_self(), NULL));
}

static pthread_barrier_t barrier;

static void *hold(void *value)
{
    pthread_barrier_wait(&barrier);
    return value;
}

static void joins(void)
{
    struct timespec soon;
    pthread_t thread;

    pthread_barrier_init(&barrier, NULL, 2);
    thread = start(hold, (void *)5);
    PTH(pthread_tryjoin_np(thread, NULL));
    soon = in_ms(CLOCK_REALTIME, 10);
    PTH(pthread_timedjoin_np(thread, NULL, &soon));
    soon = in_ms(CLOCK_MONOTONIC, 10);
    PTH(pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &soon));
    PTH(pthread_clockjoin_np(thread, NULL, CLOCK_PROCESS_CPUTIME_ID, &soon));
    soon = in_ms(CLOCK_REALTIME, -1000);
    PTH(pthread_timedjoin_np(thread, NULL, &soon));
    pthread_barrier_wait(&barrier);
    soon = in_ms(CLOCK_REALTIME, 60000);
    PTH(pthread_timedjoin_np(thread, NULL, &soon));
    pthread_barrier_destroy(&barrier);
}

static pthread_t joined_back;
static sem_t refused;

static void *join_back(void *error)
{
    struct timespec soon = in_ms(CLOCK_REALTIME, 5);

    *(int *)error = pthread_timedjoin_np(joined_back, NULL, &soon);
    sem_post(&refused);
    return NULL;
}

/* two threads join each other: whoever comes second is refused, unless both come at once; then the deadline ends it */
static void joining_each_other(void)
{
    int error, error_back;
    pthread_t thread;

    if (OS_TEST_TSAN) {
        return; /* its registry ends the process when two threads join one */
    }
    sem_init(&refused, 0, 0);
    joined_back = pthread_self();
    thread = start(join_back, &error_back);
    error = pthread_join(thread, NULL);
    if (error) {
        sem_wait(&refused);
        finish(thread);
    }
    say("ours %d, the other %d", error == 0 || error == EDEADLK, error_back == EDEADLK || error_back == ETIMEDOUT);
    sem_destroy(&refused);
}

static sem_t gone;

static void *hold_and_tell(void *unused)
{
    pthread_barrier_wait(&barrier);
    sem_post(&gone);
    return unused;
}

static void detached(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    sem_init(&gone, 0, 0); /* not destroyed: a detached thread may still be in its post */
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    PTH(pthread_create(&thread, &attributes, hold_and_tell, NULL));
    PTH_MISUSE(pthread_join(thread, NULL));
    PTH_MISUSE(pthread_detach(thread));
    pthread_barrier_wait(&barrier);
    thread = start(hold_and_tell, NULL);
    PTH(pthread_detach(thread));
    PTH_MISUSE(pthread_detach(thread));
    PTH_MISUSE(pthread_join(thread, NULL));
    pthread_barrier_wait(&barrier);
    pthread_attr_destroy(&attributes);
    sem_wait(&gone);
    sem_wait(&gone);
    PTH(pthread_barrier_destroy(&barrier));
}

static void *ask_names(void *unused)
{
    char name[32];

    PTH(pthread_setname_np(pthread_self(), "fifteen chars.."));
    PTH(pthread_getname_np(pthread_self(), name, sizeof(name)));
    say("name %s", name);
    PTH(pthread_setname_np(pthread_self(), "sixteen chars..."));
    PTH(pthread_getname_np(pthread_self(), name, 15));
    PTH(pthread_getname_np(pthread_self(), name, 16));
    say("equal %d", pthread_equal(pthread_self(), *(pthread_t *)unused) != 0);
    return (void *)(long)syscall(SYS_gettid);
}

static void names(void)
{
    pthread_t self;
    long tid;

    pthread_barrier_init(&barrier, NULL, 1);
    self = pthread_self();
    tid = (long)finish(start(ask_names, &self));
    say("another tid %d, and one way to ask for it %d", tid != gettid(), gettid() == syscall(SYS_gettid));
    pthread_barrier_destroy(&barrier);
}

/* ---- signal masks */

static void say_mask(const char *who)
{
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    say("%s: USR1 %d, USR2 %d, KILL %d", who, sigismember(&mask, SIGUSR1), sigismember(&mask, SIGUSR2),
        sigismember(&mask, SIGKILL));
}

static void *change_own_mask(void *unused)
{
    sigset_t set;

    say_mask("a new thread has its creator's");
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    PTH(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    say_mask("unblocked");
    return unused;
}

static void signal_masks(void)
{
    sigset_t all, old, again;
    int refused;

    sigemptyset(&all);
    sigaddset(&all, SIGUSR1);
    PTH(pthread_sigmask(SIG_BLOCK, &all, &old));
    say_mask("blocked");
    finish(start(change_own_mask, NULL));
    say_mask("another thread's is another");
    sigfillset(&all);
    PTH(pthread_sigmask(SIG_SETMASK, &all, NULL));
    say_mask("set");
    PTH(pthread_sigmask(SIG_SETMASK, &old, &again));
    say("what was set before: USR2 %d", sigismember(&again, SIGUSR2));
    say_mask("set back");
    PTH(pthread_sigmask(12345, &all, NULL));
    PTH(pthread_sigmask(12345, NULL, &old));
    refused = sigprocmask(12345, &all, NULL);
    say("refused: %d, errno is EINVAL: %d", refused, errno == EINVAL);
}

/* ---- cleanup handlers and keys: their order is said by the ending thread itself */

static pthread_key_t keys[3];

static void note(void *text)
{
    say("cleanup %s", (const char *)text);
}

static void destroy_key(void *value)
{
    say("destructor %s", (const char *)value);
}

static void destroy_again(void *value)
{
    long rounds = (long)value;

    say("destructor, round %ld", rounds);
    if (!OS_TEST_TSAN || rounds < 3) { /* natively its own destructor ends TSan's thread in the last round */
        pthread_setspecific(keys[1], (void *)(rounds + 1)); /* until the system gives up */
    }
}

static void *end_in_layers(void *unused)
{
    pthread_setspecific(keys[0], "of key 0");
    pthread_cleanup_push(note, "outer");
    pthread_cleanup_push(note, "popped, run");
    pthread_cleanup_pop(1);
    pthread_cleanup_push(note, "popped, not run");
    pthread_cleanup_pop(0);
    pthread_cleanup_push(note, "inner");
    pthread_exit("value");
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(1);
    return unused;
}

static void cleanup_order(void)
{
    pthread_key_create(&keys[0], destroy_key);
    say("joined with %s", (const char *)finish(start(end_in_layers, NULL)));
    PTH(pthread_key_delete(keys[0]));
    PTH(pthread_key_delete(keys[0]));
    PTH(pthread_key_delete(PTHREAD_KEYS_MAX));
}

static void *set_keys(void *unused)
{
    for (int i = 0; i < 3; i++) {
        say("key %d is %s", i, pthread_getspecific(keys[i]) ? "set" : "NULL");
    }
    pthread_setspecific(keys[0], "of key 0");
    pthread_setspecific(keys[1], (void *)1);
    pthread_setspecific(keys[2], "of a key without destructor");
    return unused;
}

/* twice: the second thread may get the first one's real thread, but none of its values */
static void key_destructors(void)
{
    pthread_key_create(&keys[0], destroy_key);
    pthread_key_create(&keys[1], destroy_again);
    pthread_key_create(&keys[2], NULL);
    for (int i = 0; i < 2; i++) {
        finish(start(set_keys, NULL));
    }
    for (int i = 0; i < 3; i++) {
        PTH(pthread_key_delete(keys[i]));
    }
}

static sem_t destroyed;

static void post(void *value)
{
    sem_post(value);
}

static void *set_and_end(void *unused)
{
    pthread_setspecific(keys[0], &destroyed);
    return unused;
}

/* destructors run before join returns, and other threads see what they do */
static void destructors_in_the_schedule(void)
{
    pthread_t thread;
    int value;

    sem_init(&destroyed, 0, 0);
    pthread_key_create(&keys[0], post);
    thread = start(set_and_end, NULL);
    SYS(sem_wait(&destroyed));
    finish(thread);
    sem_getvalue(&destroyed, &value);
    say("value %d", value);
    sem_destroy(&destroyed);
    pthread_key_delete(keys[0]);
}

/* ---- once */

static pthread_once_t once;
static int once_runs;

static void routine(void)
{
    for (int i = 0; i < 3; i++) {
        sched_yield(); /* the others arrive meanwhile */
    }
    once_runs++;
}

static void *call_once_then_look(void *unused)
{
    pthread_once(&once, routine);
    return unused ? NULL : (void *)(long)once_runs;
}

static void once_only(void)
{
    pthread_t threads[3];

    once = (pthread_once_t)PTHREAD_ONCE_INIT;
    once_runs = 0;
    for (int i = 0; i < 3; i++) {
        threads[i] = start(call_once_then_look, NULL);
    }
    for (int i = 0; i < 3; i++) {
        say("thread %d saw %ld run", i, (long)finish(threads[i]));
    }
    PTH(pthread_once(&once, routine));
    say("%d run", once_runs);
}

static __thread int local = 42;

static void *change_local(void *unused)
{
    say("starts as %d", local);
    local++;
    errno = EDOM;
    return unused;
}

static void thread_local_variables(void)
{
    errno = ERANGE;
    finish(start(change_local, NULL));
    finish(start(change_local, NULL));
    say("main has %d, errno %s", local, strerrorname_np(errno));
}

static const OsProgram programs[] = {
    { "/os/thread/results", results },
    { "/os/thread/joins", joins },
    { "/os/thread/joining-each-other", joining_each_other },
    { "/os/thread/detached", detached },
    { "/os/thread/names", names },
    { "/os/thread/signal-masks", signal_masks },
    { "/os/thread/cleanup-order", cleanup_order },
    { "/os/thread/key-destructors", key_destructors },
    { "/os/thread/destructors-in-the-schedule", destructors_in_the_schedule },
    { "/os/thread/once-only", once_only },
    { "/os/thread/thread-local-variables", thread_local_variables },
};

int main(int argc, char **argv)
{
    return os_test_run(argc, argv, programs, sizeof(programs) / sizeof(programs[0]));
}
