/*
 * A target with several bugs in it, for the tests of the minimizer: what it shrinks must stay the bug that it was, and here a plainer
 * input has another one.
 *
 * First byte: 0: nothing happens  1 to 191: the easy bug, in every schedule  192 to 254: a hard one, that takes a preemption
 *             255: the hard one and then the easy one
 * The second byte chooses the hard one:  0: an update is lost  1: two mutexes are taken in both orders  2: a pointer is used before it is set
 *              3: memory is used after it was freed  4: both threads wait for the update that was lost, for ever; else one of them does what it
 *              does then too, but for a fifth of the steps that an execution may have  5: the threads take turns more often than an input has
 *              records for  6: a wait is interrupted, which only a disturbed call is  7: an update is lost, after waits that do not mind
 */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/atomic.h"
#include "fuzz/fuzz.h"

enum { HARD_UPDATE, HARD_LOCKS, HARD_POINTER, HARD_FREED, HARD_ENDLESS, HARD_TURNS, HARD_INTERRUPTED, HARD_WAITS, HARD_COUNT };
enum { LONG = 40000, TURNS = 40, TRIES = 400, WAITS = 6 };

static int counter, turn;
static int events[2]; /* to the first thread, to the other one */
static int *pointer;
static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;

static void add_one(void)
{
    qatomic_set(&counter, qatomic_read(&counter) + 1);
}

static void lock_both(pthread_mutex_t *a, pthread_mutex_t *b)
{
    pthread_mutex_lock(a);
    pthread_mutex_lock(b);
    pthread_mutex_unlock(b);
    pthread_mutex_unlock(a);
}

__attribute__((noinline)) static int use_pointer(void)
{
    return *(volatile int *)qatomic_read(&pointer);
}

static void wait_for_both(unsigned least)
{
    for (unsigned i = 0; qatomic_read(&counter) != 2 || i < least; i++) {
    }
}

static void take_turns(int mine)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (qatomic_read(&turn) == mine) {
            add_one();
            qatomic_set(&turn, !mine);
        }
    }
}

/* Returns whether the wait for the other thread was interrupted. */
static bool wait_for(int fd)
{
    struct pollfd wanted = { .fd = fd, .events = POLLIN };

    return poll(&wanted, 1, -1) < 0;
}

static void wait_again(int fd)
{
    eventfd_t taken;

    while (wait_for(fd)) {
    }
    eventfd_read(fd, &taken);
}

static void send_and_wait(void)
{
    for (int i = 0; i < WAITS; i++) {
        eventfd_write(events[0], 1);
        wait_again(events[1]);
    }
}

static void wait_and_send(void)
{
    for (int i = 0; i < WAITS; i++) {
        wait_again(events[0]);
        eventfd_write(events[1], 1);
    }
}

/* Another place than that of the update that is lost without waits: another bug. */
__attribute__((noinline)) static void nothing_lost_after_waits(void)
{
    fuzz_check(counter == 2);
}

static void *other_thread(void *opaque)
{
    unsigned hard = *(unsigned *)opaque;

    switch (hard) {
    case HARD_UPDATE:
        add_one();
        break;
    case HARD_LOCKS:
        lock_both(&second, &first);
        break;
    case HARD_ENDLESS:
        add_one();
        wait_for_both(0);
        break;
    case HARD_POINTER:
        use_pointer();
        break;
    case HARD_TURNS:
        take_turns(1);
        break;
    case HARD_INTERRUPTED:
        eventfd_write(events[0], 1);
        break;
    case HARD_WAITS:
        send_and_wait();
        add_one();
        break;
    default:
        qatomic_read(&counter);
        free(qatomic_xchg(&pointer, pointer));
        break;
    }
    return NULL;
}

static void hard_bug(unsigned hard)
{
    int *memory = calloc(1, sizeof(*memory));
    pthread_t thread;
    bool interrupted = false;

    counter = turn = 0;
    for (int i = 0; i < 2; i++) {
        events[i] = hard == HARD_INTERRUPTED || hard == HARD_WAITS ? eventfd(0, EFD_CLOEXEC) : -1;
    }
    pointer = hard == HARD_FREED ? memory : NULL;
    pthread_create(&thread, NULL, other_thread, &hard);
    switch (hard) {
    case HARD_UPDATE:
        add_one();
        break;
    case HARD_LOCKS:
        lock_both(&first, &second);
        break;
    case HARD_ENDLESS:
        add_one();
        wait_for_both(LONG);
        break;
    case HARD_POINTER:
        qatomic_set(&pointer, memory);
        break;
    case HARD_TURNS:
        take_turns(0);
        break;
    case HARD_INTERRUPTED:
        interrupted = wait_for(events[0]);
        break;
    case HARD_WAITS:
        wait_and_send();
        add_one();
        break;
    default:
        for (int i = 0; i < 3; i++) {
            use_pointer();
        }
        break;
    }
    pthread_join(thread, NULL);
    if (hard != HARD_FREED) {
        free(memory);
    }
    for (int i = 0; i < 2 && events[i] >= 0; i++) {
        close(events[i]);
    }
    fuzz_check(!interrupted);
    fuzz_check(hard != HARD_UPDATE || counter == 2);
    if (hard == HARD_WAITS) {
        nothing_lost_after_waits();
    }
    fuzz_check(hard != HARD_TURNS || counter < TURNS);
}

static void easy_bug(void)
{
    fuzz_violated("%s: an easy one", __func__);
}

static void run(FuzzInput *in)
{
    unsigned kind = fuzz_byte(in);
    unsigned hard = fuzz_choice(in, HARD_COUNT);

    if (kind >= 192) {
        hard_bug(hard);
    }
    if (kind == 255 || (kind > 0 && kind < 192)) {
        easy_bug();
    }
}

const FuzzTarget fuzz_target = { .name = "two_bugs", .run = run, .disturbs = true };
