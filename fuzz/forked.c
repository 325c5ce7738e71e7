/*
 * See forked.h. A fresh child:
 *
 *     step | the process                     | the server                        | a child
 *     -----+---------------------------------+-----------------------------------+----------------------------------
 *        1 | sends the function's address    | reads it, forks, waits            |
 *        2 | answers                         |                                   | runs; asks for names of calls
 *        3 |                                 |                                   | copies the coverage, says done, ends
 *        4 | reads how it ended              | sends how it ended                |
 *
 * One that is rewound takes the server's place for as long as it lives: the server waits for its end, and then serves itself until the
 * next one is wanted.
 *
 *     step | the process                     | the server                        | a rewinder
 *     -----+---------------------------------+-----------------------------------+----------------------------------
 *        1 | sends the function's address    | reads it, forks, waits            | marks its memory
 *        2 |                                 |                                   | runs, sends how it ended, goes back to the mark
 *        3 | sends the next one              |                                   | reads it, runs, ...
 *        4 | sends one for a fresh child     |                                   | reads it, forks, waits: a server itself
 *        5 | sends one that kills            |                                   | dies in the middle
 *        6 | asks for a fresh child          | sends that it died                |
 *
 * 6 is because a rewinder's death proves nothing: what kills it must kill a child of its own as well.
 *
 * 1. The bare system call, not libc's fork(): that would take the stacks of all other threads for free memory, and these are our fibers.
 *    Their kernel threads do not exist in the child, and are not missed: a fiber is memory.
 * 2. Server and children never return from here and never run exit handlers: they are the process's.
 * 3. Server and child use one socket, but never at the same time.
 */
#include "fuzz/forked.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz/crash.h"
#include "fuzz/rewind.h"
#include "report/symbolize.h"
#include "sched/sched.h"

#define FORKED_PCS 4u /* code addresses that name a call, at most */

/* The linker's names for the bounds of the coverage counters; not there without a fuzzing engine. */
#define SECTION(name)                                                              \
    extern uint8_t __start___##name[] __attribute__((weak, visibility("hidden"))); \
    extern uint8_t __stop___##name[] __attribute__((weak, visibility("hidden")))
SECTION(sancov_cntrs);
SECTION(libfuzzer_extra_counters);

typedef struct Counters {
    uint8_t *start;
    size_t bytes;
    uint8_t *copy; /* shared */
} Counters;

static Counters counters[2];
static struct {
    volatile bool done; /* the child came to its end */
    volatile bool died; /* a signal or a sanitizer ends the child, which says so */
    volatile uint64_t children;
    volatile uint64_t received, answered; /* orders */
} *state; /* shared */
static bool rewinds = true;
static int to_parent = -1;  /* in a child */
static void (*dies_in_child)(void), (*dies_in_process)(void);

void *forked_alloc(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        fprintf(stderr, "wakefuzz: cannot share %zu bytes with children: %s\n", bytes, strerror(errno));
        exit(2);
    }
    return memory;
}

static int to_server = -1;

static void init(void)
{
    counters[0] = (Counters){ __start___sancov_cntrs, (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs), NULL };
    counters[1] = (Counters){ __start___libfuzzer_extra_counters,
                              (size_t)(__stop___libfuzzer_extra_counters - __start___libfuzzer_extra_counters), NULL };
    for (unsigned i = 0; i < 2; i++) {
        counters[i].copy = counters[i].bytes ? forked_alloc(counters[i].bytes) : NULL;
    }
    state = forked_alloc(sizeof(*state));
    rewinds = rewind_wanted();
}

/* Never instrumented, and not memcpy(): the counters lie side by side with a sanitizer's red zones. */
static void copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] = from[i];
    }
}

/* ---- messages */

typedef struct Order {
    void (*function)(void);
    ForkedHow how;
} Order;

typedef struct Message {
    enum { ASK, ENDED } kind;
    int status; /* ENDED: as waitpid() gives it */
    void *pcs[FORKED_PCS];
    unsigned n;
} Message;

static bool receive(int from, void *message, size_t bytes)
{
    ssize_t result;

    do {
        result = read(from, message, bytes);
    } while (result < 0 && errno == EINTR); /* the fuzzing engine's alarm */
    return result == (ssize_t)bytes;
}

static bool transmit(int to, const void *message, size_t bytes)
{
    ssize_t result;

    do {
        result = send(to, message, bytes, MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    return result == (ssize_t)bytes;
}

uint32_t forked_namer(void *const *pcs, unsigned n)
{
    Message question = { .kind = ASK, .n = n < FORKED_PCS ? n : FORKED_PCS };
    uint32_t answer = 0; /* written to before the kernel does (rewind.h) */

    if (to_parent < 0) {
        return report_site_namer(pcs, n);
    }
    for (unsigned i = 0; i < question.n; i++) { /* on a fiber's stack; TSan takes a memcpy() there for the program's */
        ((void *volatile *)question.pcs)[i] = pcs[i];
    }
    if (!transmit(to_parent, &question, sizeof(question)) || !receive(to_parent, &answer, sizeof(answer))) {
        _exit(2); /* the process has gone */
    }
    return answer;
}

/* ---- a child's death */

void forked_on_death(void (*in_child)(void), void (*in_process)(void))
{
    dies_in_child = in_child;
    dies_in_process = in_process;
}

static void die_in_child(void)
{
    state->died = true;
    dies_in_child();
}

static void die(int number)
{
    die_in_child();
    signal(number, SIG_DFL);
    raise(number);
}

/* A sanitizer's runtime tells of its own errors, and of all signals but libc's abort(). */
static void catch_death(void)
{
    static const int signals[] = FUZZ_CRASH_SIGNALS;
    const struct sigaction action = { .sa_handler = die, .sa_flags = SA_ONSTACK | SA_NODEFER };
    size_t count = __sanitizer_set_death_callback ? 1 : sizeof(signals) / sizeof(signals[0]);

    if (!dies_in_child) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        sigaction(signals[i], &action, NULL);
    }
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(die_in_child);
    } else {
        sched_install_fault_handler(); /* in front again */
    }
}

/* ---- server and children */

static void run_here(void (*function)(void))
{
    sched_start_clock();
    function();
    fflush(NULL);
    for (unsigned i = 0; i < 2; i++) {
        copy(counters[i].copy, counters[i].start, counters[i].bytes);
    }
    state->done = true;
}

__attribute__((noreturn)) static void be_child(void (*function)(void))
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    rewind_leave();
    run_here(function);
    _exit(0);
}

static pid_t fork_bare(void)
{
    state->children++;
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static int wait_for(pid_t child)
{
    int status = -1;

    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static bool receive_order(Order *order)
{
    if (!receive(to_parent, order, sizeof(*order))) {
        return false;
    }
    state->received++;
    return true;
}

/* Returns whether the process is there. */
static bool tell_end(int status)
{
    Message ended = { .kind = ENDED, .status = status };

    state->answered = state->received;
    return transmit(to_parent, &ended, sizeof(ended));
}

static bool serve_fresh(void (*function)(void))
{
    pid_t child = fork_bare();

    if (child == 0) {
        be_child(function);
    }
    return tell_end(wait_for(child));
}

/* Ends, with status 0, when it cannot be what it was any more, and the next one has to begin. */
__attribute__((noreturn)) static void be_rewinder(Order order)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!rewind_mark()) {
        run_here(order.function); /* the first execution here is as good as one in a child of its own */
        _exit(tell_end(0) ? 0 : 2);
    }
    do {
        if (order.how == FORKED_FRESH) {
            if (!serve_fresh(order.function)) {
                break;
            }
            continue;
        }
        run_here(order.function);
        if (!tell_end(0) || !rewind_back()) {
            break;
        }
    } while (receive_order(&order));
    _exit(0);
}

/* Serves many. One that ends in the middle of an order has not answered it. */
static bool serve_rewound(Order order)
{
    pid_t child = fork_bare();
    int status;

    if (child == 0) {
        be_rewinder(order);
    }
    status = wait_for(child);
    return state->answered == state->received || tell_end(status);
}

__attribute__((noreturn)) static void be_server(void)
{
    Order order;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* the process is asked too, and ends after this execution */
    signal(SIGTERM, SIG_IGN);
    catch_death();
    while (receive_order(&order)) {
        if (!(order.how == FORKED_REWOUND ? serve_rewound(order) : serve_fresh(order.function))) {
            break;
        }
    }
    _exit(0);
}

void forked_start(void)
{
    int ends[2] = { -1, -1 };
    pid_t server = -1;

    init();
    fflush(NULL);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
        server = fork_bare();
    }
    if (server < 0) {
        fprintf(stderr, "wakefuzz: no child process: %s (see ulimit -u)\n", strerror(errno));
        exit(2);
    }
    if (server == 0) {
        close(ends[0]);
        to_parent = ends[1];
        be_server();
    }
    close(ends[1]);
    to_server = ends[0];
}

/* A child that cannot be made has a status of its own; a sanitizer has said why it ended one. */
__attribute__((noreturn)) static void end_like(int status)
{
    void (*first)(void) = dies_in_process;

    fflush(NULL);
    if (status == -1) {
        fprintf(stderr, "wakefuzz: no child process (see ulimit -u), or its server was killed\n");
        exit(2);
    }
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "wakefuzz: the execution was ended by signal %d\n", WTERMSIG(status));
    } else if (!state->died) {
        fprintf(stderr, "wakefuzz: the execution ended the process with status %d\n", WEXITSTATUS(status));
    }
    dies_in_process = NULL; /* whose own child may die */
    if (first) {
        first();
    }
    abort();
}

/* Returns how it ended, as waitpid() gives it, or -1: no child. */
static int run_once(void (*function)(void), ForkedHow how)
{
    Message message = { .kind = ENDED, .status = -1 };
    Order order = { .function = function, .how = how };

    state->done = state->died = false;
    if (transmit(to_server, &order, sizeof(order))) {
        while (receive(to_server, &message, sizeof(message)) && message.kind == ASK) {
            uint32_t answer = report_site_namer(message.pcs, message.n);

            if (!transmit(to_server, &answer, sizeof(answer))) {
                break;
            }
        }
    }
    return message.kind == ENDED ? message.status : -1;
}

void forked_run(void (*function)(void), ForkedHow how)
{
    int status;

    fflush(NULL);
    how = rewinds ? how : FORKED_FRESH;
    status = run_once(function, how);
    if (!state->done && how == FORKED_REWOUND) {
        status = run_once(function, FORKED_FRESH);
    }
    if (!state->done) {
        end_like(status);
    }
    for (unsigned i = 0; i < 2; i++) {
        copy(counters[i].start, counters[i].copy, counters[i].bytes);
    }
}

bool forked_is_child(void)
{
    return to_parent >= 0;
}

uint64_t forked_children(void)
{
    return state->children - 1; /* without the server */
}
