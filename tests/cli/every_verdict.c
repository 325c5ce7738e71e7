/*
 * A target with one bug for each verdict, for the test that applies ClusterFuzz's rules to real logs (clusterfuzz_test.py). The first byte
 * chooses; 0, and what there is not, is no bug, or the one that PLAINEST says. Each shows in every schedule: what is tested is the log.
 *
 * The functions whose names begin with "culprit_" are what a log has to name.
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/atomic.h"
#include "core/coroutine.h"
#include "fuzz/fuzz.h"

#define CULPRIT __attribute__((noinline)) static

#ifndef PLAINEST
#define PLAINEST 0
#endif

enum { BYTES = 512, SLEEP_MS = 1, LATE_S = 600 };

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int flag, counter;

static void let_the_other_go_on(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = SLEEP_MS * 1000000L }, NULL);
}

static void with_another(void *(*other)(void *), void (*own)(void))
{
    pthread_t thread;

    qatomic_set(&flag, 0);
    pthread_create(&thread, NULL, other, NULL);
    let_the_other_go_on();
    own();
    pthread_join(thread, NULL);
}

/* ---- wakeups */

CULPRIT void culprit_sets_without_waking(void)
{
    qatomic_set(&flag, 1);
}

CULPRIT void *culprit_waits(void *unused)
{
    pthread_mutex_lock(&first);
    while (!qatomic_read(&flag)) {
        pthread_cond_wait(&changed, &first);
    }
    pthread_mutex_unlock(&first);
    return unused;
}

CULPRIT void *culprit_waits_long(void *unused)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LATE_S;
    pthread_mutex_lock(&first);
    while (!qatomic_read(&flag)) {
        pthread_cond_timedwait(&changed, &first, &until);
    }
    pthread_mutex_unlock(&first);
    return unused;
}

static void missed_wakeup(void)
{
    with_another(culprit_waits, culprit_sets_without_waking);
}

static void late_wakeup(void)
{
    with_another(culprit_waits_long, culprit_sets_without_waking);
}

/* ---- locks and loops */

CULPRIT void *culprit_locks_backwards(void *unused)
{
    pthread_mutex_lock(&second);
    let_the_other_go_on();
    let_the_other_go_on();
    pthread_mutex_lock(&first);
    pthread_mutex_unlock(&first);
    pthread_mutex_unlock(&second);
    return unused;
}

CULPRIT void culprit_locks_forwards(void)
{
    pthread_mutex_lock(&first);
    let_the_other_go_on();
    let_the_other_go_on();
    pthread_mutex_lock(&second);
    pthread_mutex_unlock(&second);
    pthread_mutex_unlock(&first);
}

static void deadlock(void)
{
    with_another(culprit_locks_backwards, culprit_locks_forwards);
}

CULPRIT void culprit_spins(void)
{
    while (!qatomic_read(&flag)) {
        qatomic_set(&counter, 1);
    }
}

static void livelock(void)
{
    qatomic_set(&flag, 0);
    culprit_spins();
}

CULPRIT int culprit_recurses(int depth)
{
    volatile char room[256];

    room[0] = (char)depth;
    return qatomic_read(&flag) == INT_MAX ? 0 : culprit_recurses(depth + 1) + room[0];
}

static void stack_overflow(void)
{
    culprit_recurses(0);
}

/* ---- what is done twice, not at all, or left behind */

CULPRIT void coroutine_fn culprit_enters_itself(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_self());
    (void)opaque;
}

static void double_entry(void)
{
    qemu_coroutine_enter(qemu_coroutine_create(culprit_enters_itself, NULL));
}

CULPRIT void culprit_submits_and_forgets(void)
{
    static char buffer[BYTES] __attribute__((aligned(BYTES)));
    io_context_t context = NULL;
    struct iocb request, *list[] = { &request };
    int fd = open(fuzz_file("disk"), O_RDWR | O_CREAT, 0600);

    io_setup(1, &context);
    io_prep_pwrite(&request, fd, buffer, BYTES, 0);
    io_submit(context, 1, list);
    close(fd);
}

CULPRIT void culprit_leaves_open(void)
{
    (void)!eventfd(0, EFD_CLOEXEC);
}

/* ---- what a sanitizer sees */

CULPRIT void culprit_increments(void)
{
    counter++;
}

CULPRIT void *culprit_increments_too(void *unused)
{
    counter++;
    return unused;
}

static void data_race(void)
{
    with_another(culprit_increments_too, culprit_increments);
}

CULPRIT void culprit_uses_freed(void)
{
    int *volatile memory = malloc(sizeof(*memory));

    *memory = 1;
    free(memory);
    counter = *memory;
}

CULPRIT void culprit_overflows(void)
{
    volatile int most = INT_MAX;

    most = most + 1;
}

/* ---- the rest */

CULPRIT void culprit_violates(void)
{
    fuzz_check(qatomic_read(&flag) == 2);
}

CULPRIT void culprit_waits_for_a_signal(void)
{
    pause();
}

/* What an execution leaves to the next one makes it another one. */
CULPRIT void culprit_remembers(void)
{
    static int runs;

    for (int i = 0; i < runs % 2; i++) {
        qatomic_set(&counter, i);
    }
    runs++;
}

CULPRIT void culprit_traps(void)
{
    __builtin_trap();
}

/* ---- a crash whose innermost frame is none of the program's */

CULPRIT void culprit_calls_null(void)
{
    void (*volatile function)(void) = NULL;

    function();
    counter++;
}

CULPRIT void culprit_copies_from_null(void)
{
    const char *volatile from = NULL;
    char to[2 * BYTES];
    volatile size_t length = sizeof(to);

    memcpy(to, from, length);
    counter += to[0];
}

/* ---- a heap that is broken: libc finds it while it holds its lock. Blocks of libc's own malloc(): a sanitizer's keeps its books elsewhere. */

/* A free block's links: malloc() follows them. */
CULPRIT void culprit_writes_to_freed(void)
{
    enum { LARGE = 5000 };
    volatile uintptr_t *volatile block = malloc(LARGE);
    void *volatile barrier = malloc(LARGE), *volatile other;

    free((void *)block);
    block[0] = block[1] = sizeof(*block);
    other = malloc(2 * LARGE); /* looks through what is free */
    free(other);
    free(barrier);
}

/* The size of the heap's rest, behind its last block: malloc() finds it wrong, and calls abort(). */
CULPRIT void culprit_writes_behind(void)
{
    enum { LARGE = 100000, WORDS = 4 }; /* no free block is as large */
    size_t words = LARGE / sizeof(uintptr_t);
    volatile uintptr_t *volatile block = malloc(LARGE);
    void *volatile more;

    for (size_t i = words; i < words + WORDS; i++) {
        block[i] = UINTPTR_MAX;
    }
    more = malloc(LARGE);
    free(more);
}

static void run(FuzzInput *in)
{
    static void (*const bugs[])(void) = {
        [1] = missed_wakeup,
        late_wakeup,
        deadlock,
        livelock,
        culprit_submits_and_forgets,
        stack_overflow,
        double_entry,
        culprit_leaves_open,
        data_race,
        culprit_uses_freed,
        culprit_overflows,
        culprit_violates,
        culprit_waits_for_a_signal,
        culprit_remembers,
        culprit_traps,
        culprit_writes_to_freed,
        culprit_writes_behind,
        culprit_calls_null,
        culprit_copies_from_null,
    };
    unsigned bug = fuzz_byte(in);

    bug = bug ? bug : PLAINEST;
    if (bug > 0 && bug < sizeof(bugs) / sizeof(bugs[0])) {
        bugs[bug]();
    }
}

const FuzzTarget fuzz_target = { .name = "every_verdict", .run = run, .steps_max = 20000 };
