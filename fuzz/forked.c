/*
 * See forked.h.
 *
 * 1. The bare system call, not libc's fork(): that would take the stacks of all other threads for free memory, and these are our fibers.
 *    Their kernel threads do not exist in the child, and are not missed: a fiber is memory.
 * 2. The child never returns from here and never runs exit handlers: they are the parent's.
 * 3. Coverage is counted in the child's copy of the counters, and so carried over at its end.
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

#include "report/symbolize.h"

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
static volatile bool *done; /* shared: the child came to its end */
static int to_parent = -1;  /* in a child */

void *forked_alloc(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        fprintf(stderr, "wakefuzz: cannot share %zu bytes with children: %s\n", bytes, strerror(errno));
        exit(2);
    }
    return memory;
}

static void init(void)
{
    counters[0] = (Counters){ __start___sancov_cntrs, (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs), NULL };
    counters[1] = (Counters){ __start___libfuzzer_extra_counters,
                              (size_t)(__stop___libfuzzer_extra_counters - __start___libfuzzer_extra_counters), NULL };
    for (unsigned i = 0; i < 2; i++) {
        counters[i].copy = counters[i].bytes ? forked_alloc(counters[i].bytes) : NULL;
    }
    done = forked_alloc(sizeof(*done));
}

/* Never instrumented, and not memcpy(): the counters lie side by side with a sanitizer's red zones. */
static void copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] = from[i];
    }
}

/* ---- names of calls */

typedef struct Question {
    void *pcs[FORKED_PCS];
    unsigned n;
} Question;

uint32_t forked_namer(void *const *pcs, unsigned n)
{
    Question question = { .n = n < FORKED_PCS ? n : FORKED_PCS };
    uint32_t answer;

    if (to_parent < 0) {
        return report_site_namer(pcs, n);
    }
    memcpy(question.pcs, pcs, question.n * sizeof(void *));
    if (write(to_parent, &question, sizeof(question)) != sizeof(question) ||
        read(to_parent, &answer, sizeof(answer)) != sizeof(answer)) {
        _exit(2); /* the parent has gone */
    }
    return answer;
}

/* Until the child's end. */
static void answer_questions(int child)
{
    Question question;
    ssize_t bytes;

    while ((bytes = read(child, &question, sizeof(question))) != 0) {
        if (bytes == sizeof(question)) {
            uint32_t answer = report_site_namer(question.pcs, question.n);

            (void)!write(child, &answer, sizeof(answer));
        } else if (bytes > 0 || errno != EINTR) {
            break;
        }
    }
}

/* ---- processes */

__attribute__((noreturn)) static void be_child(void (*function)(void *), void *argument, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(2);
    }
    signal(SIGINT, SIG_IGN); /* the parent is asked too, and ends after this execution */
    signal(SIGTERM, SIG_IGN);
    function(argument);
    fflush(NULL);
    for (unsigned i = 0; i < 2; i++) {
        copy(counters[i].copy, counters[i].start, counters[i].bytes);
    }
    *done = true;
    _exit(0);
}

__attribute__((noreturn)) static void end_like(int status)
{
    fflush(NULL);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        kill(getpid(), WTERMSIG(status));
    }
    _exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 2);
}

void forked_run(void (*function)(void *), void *argument)
{
    pid_t parent = getpid(), child = -1;
    int status, ends[2] = { -1, -1 };

    if (!done) {
        init();
    }
    fflush(NULL);
    *done = false;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
        child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    }
    if (child < 0) {
        fprintf(stderr, "wakefuzz: no child process: %s (see ulimit -u)\n", strerror(errno));
        exit(2);
    }
    if (child == 0) {
        close(ends[0]);
        to_parent = ends[1];
        be_child(function, argument, parent);
    }
    close(ends[1]);
    answer_questions(ends[0]);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        /* the fuzzing engine's alarm */
    }
    if (!*done) {
        end_like(status);
    }
    for (unsigned i = 0; i < 2; i++) {
        copy(counters[i].start, counters[i].copy, counters[i].bytes);
    }
}
