/* A program under test for native_test.py: what it does is in the input's first byte. Its scenarios run in children, as the lane's do. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz/native.h"

static unsigned runs; /* of this process */

__attribute__((noinline)) static void wait_for_nobody(void)
{
    pause();
    __asm__ volatile(""); /* no tail call: it is to be seen in a stack */
}

static void *idle_thread(void *opaque)
{
    for (;;) {
        wait_for_nobody();
    }
    return opaque;
}

__attribute__((noinline)) static void hang(void)
{
    sigset_t all;
    pthread_t thread;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* as QEMU blocks SIGALRM */
    pthread_create(&thread, NULL, idle_thread, NULL);
    pthread_join(thread, NULL);
}

static void run_target(FuzzInput *in)
{
    uint8_t what = fuzz_byte(in);

    fuzz_check(runs++ == 0); /* a child of its own */
    if (what == 'h') {
        hang();
    } else if (what == 'c') {
        raise(SIGSEGV);
    } else if (what == 'v') {
        fuzz_violated("the cat is out");
    } else if (what == 'e') {
        exit(3);
    } else if (what == 'f') {
        fuzz_check(access("file", F_OK) != 0); /* nor is one there of a child that crashed */
        fuzz_check(close(open("file", O_CREAT | O_WRONLY, 0600)) == 0);
        raise(SIGSEGV);
    }
}

static void init(void)
{
}

const FuzzTarget fuzz_target = { .name = "native_program", .run = run_target };
const NativeProgram native_program = { .init = init, .run = run_target, .in_child = native_in_child };
