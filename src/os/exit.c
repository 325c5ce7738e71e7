/*
 * The end of a thread: cleanup handlers, then key destructors, then whoever joins.
 *
 *     step | the thread                                               | its joiner
 *     -----+----------------------------------------------------------+--------------------------------
 *        1 | pthread_exit(value): value is kept in the record         | sleeps in pthread_join
 *        2 | longjmp to the newest pthread_cleanup_push, which runs   |
 *          | its handler and calls __pthread_unwind_next; again until |
 *          | none is left                                             |
 *        3 | sched_thread_exit: leaves the program's frames           |
 *        4 | os_thread_ending: key destructors, in the schedule;      |
 *          | os_release(record)                                       |
 *        5 | has ended                                                | is woken, os_acquire(record)
 *
 * A thread whose function returns enters at step 4. glibc unwinds the stack instead; the order in which handlers run
 * is the same, as pthread_cleanup_push() in C registers each with __pthread_register_cancel().
 */
#include <pthread.h>
#include <stdint.h>

#include "os/exit.h"
#include "os/real.h"
#include "os/sanitizer.h"
#include "os/thread.h"

REAL_SYMBOL(pthread_exit)
REAL_SYMBOL(__pthread_register_cancel)
REAL_SYMBOL(__pthread_unregister_cancel)
/* longjmp, without its type: the buffer of pthread_cleanup_push() is the head of a jmp_buf. It ends before the saved
 * signal mask, of which there is none. */
extern void jump_to(struct __cancel_jmp_buf_tag *buffer, int value) __asm__("longjmp") __attribute__((noreturn));

extern void __pthread_unwind_next(__pthread_unwind_buf_t *) __attribute__((noreturn));
REAL_SYMBOL(__pthread_unwind_next)

void __pthread_register_cancel(__pthread_unwind_buf_t *buffer)
{
    OsThread *self;

    if (!sched_here()) {
        REAL(__pthread_register_cancel)(buffer);
        return;
    }
    self = os_thread_self();
    buffer->__pad[0] = self->cleanups;
    self->cleanups = buffer;
}

void __pthread_unregister_cancel(__pthread_unwind_buf_t *buffer)
{
    if (!sched_here()) {
        REAL(__pthread_unregister_cancel)(buffer);
        return;
    }
    os_thread_self()->cleanups = buffer->__pad[0];
}

/* Run the newest cleanup handler, which comes back through __pthread_unwind_next(); where there is none, end the
 * thread. */
static void __attribute__((noreturn)) unwind(OsThread *self)
{
    __pthread_unwind_buf_t *newest = self->cleanups;

    if (newest) {
        self->cleanups = newest->__pad[0];
        jump_to(newest->__cancel_jmp_buf, 1);
    }
    sched_thread_exit(self->exit_value);
}

void __pthread_unwind_next(__pthread_unwind_buf_t *buffer)
{
    if (!sched_here()) {
        REAL(__pthread_unwind_next)(buffer);
    }
    unwind(os_thread_self());
}

void os_thread_exit(void *value)
{
    OsThread *self = os_thread_self();

    if (self->once_depth) {
        sched_fail("unmodelled", "pthread_exit out of a pthread_once routine is not modelled");
    }
    self->exit_value = value;
    unwind(self);
}

void pthread_exit(void *value)
{
    if (!sched_here()) {
        REAL(pthread_exit)(value);
    }
    os_thread_exit(value);
}

void os_thread_ending(SchedThread *thread)
{
    OsThread *self = os_thread_of(thread);

    os_key_run_destructors();
    os_release(self);
}
