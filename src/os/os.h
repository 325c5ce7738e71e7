/*
 * The simulated OS: the libc functions that a program calls to create threads, to wait, to talk through descriptors
 * and to look at the clock are *defined* here, so that programs (and shared libraries like GLib, when the executable
 * is linked with -rdynamic) get them without being changed. Link the whole archive.
 *
 * On a fiber inside an execution (sched_here()) each of them is a scheduling point and then a model of what Linux and
 * glibc do. For anybody else, and between sched_passthrough_begin() and sched_passthrough_end(), it is the real
 * function.
 *
 * What is modelled
 *   threads    pthread_create join tryjoin_np timedjoin_np clockjoin_np detach exit setname_np getname_np, cleanup
 *              handlers, keys with their destructors, once; the same under their C11 names (thrd_, mtx_, cnd_, tss_,
 *              call_once)
 *   locks      mutex of every type, rwlock, spin lock, barrier, condition variable, unnamed semaphore; timed forms on
 *              virtual time
 *   futex      syscall(SYS_futex, WAIT, WAKE, WAIT_BITSET, WAKE_BITSET, REQUEUE, CMP_REQUEUE)
 *   files      eventfd, pipe, socketpair(AF_UNIX, SOCK_STREAM), timerfd, epoll; read write readv writev recv send
 *              recvmsg sendmsg shutdown getsockname getpeername close dup dup2 dup3 fcntl ioctl fstat on them
 *   sockets    socket(AF_UNIX, SOCK_STREAM) bind listen accept accept4 connect, by names in the file system;
 *              descriptors that sendmsg passes on (SCM_RIGHTS)
 *   memory     memfd_create, mmap and munmap of what it makes; fstatfs of simulated files
 *   disk       regular files that the execution creates: open openat creat unlink stat access, pread pwrite and their
 *              vectors, lseek ftruncate fsync fdatasync; O_DIRECT, O_APPEND
 *   kernel AIO io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents, by libaio's names and by
 *              syscall(), the ring of completions and eventfds (aio.h)
 *   waiting    poll ppoll g_poll select pselect epoll_wait epoll_pwait epoll_pwait2
 *   time       clock_gettime clock_getres gettimeofday time timespec_get clock nanosleep clock_nanosleep usleep sleep
 *              sched_yield
 *
 * Where the model differs from Linux
 *   - A call that is not modelled ends the execution as `unmodelled`, by name (unmodelled.c has the list).
 *   - Signals are never delivered. EINTR comes only from the experiment at quiescence, and only out of poll, select,
 *     epoll_wait and futex. Reads and writes are never cut short where Linux would not do so.
 *   - Which waiter a condition variable or a futex wakes is a decision. A mutex, rwlock, spin lock or semaphore that
 *     becomes free lets all its waiters try again; who comes first is a decision.
 *   - CLOCK_REALTIME starts at 2025-01-01 00:00:00 UTC, the others at 1000 s; both move with the virtual clock.
 *     CPU-time clocks too.
 *   - Simulated descriptors are numbered from 512. dup2() from a simulated to a real number, or back, is not
 *     modelled, nor is stdio on them.
 *   - Real descriptors keep working. Where an operation on one would block, the thread sleeps until another thread of
 *     the program has used some real descriptor; what the world outside does is not waited for.
 *   - A file that was created in the execution lies in memory and holds at most 256 KiB. rename, link, truncate, fopen,
 *     fallocate and, unless memfd_create() made it, mmap of one are not modelled. All other names are the machine's.
 *   - A socket is bound to a name in the file system only. Sockets that carry each other in a circle are never freed.
 *     userfaultfd is refused, as Linux refuses it to the unprivileged.
 *   - AIO on a real regular file reads and writes it when the simulated kernel completes the request.
 *   - A stream socket holds 64 KiB in each direction; Linux counts its bookkeeping too.
 *   - Priority inheritance, priority ceilings and process-shared objects behave like plain ones; the death of a
 *     robust mutex's owner is not noticed.
 *   - pthread_exit() runs the cleanup handlers of C code compiled without -fexceptions, and no C++ destructors; C++
 *     thread_local objects are not destroyed when a thread ends.
 *   - Random numbers and the contents of real files come from the machine.
 */
#ifndef WAKEFUZZ_OS_OS_H
#define WAKEFUZZ_OS_OS_H

#include <stddef.h>
#include <stdint.h>

/* Register the simulated OS with the scheduler. Call once, outside an execution, before the first sched_run();
 * further calls do nothing. Any thread; never blocks; cannot fail. */
void os_init(void);

/* How many simulated descriptors are open. After sched_run() has returned: what the program left open. Any thread. */
unsigned os_fds_left(void);

/* Describe the i-th open descriptor, "eventfd 512, counter 3"; writes at most size bytes with the final 0. Returns
 * the number of the descriptor, or -1 when there are not that many. Any thread, while no fiber runs. */
int os_describe_fd_left(unsigned i, char *buffer, size_t size);

/* The calling thread stands for another process: its descriptors come from the upper half of the numbers from now on, so that a number which the
 * program closes, or uses, once too often is none of its. On a fiber; threads that it creates are not meant. */
void os_fds_apart(void);

/* Mutexes locked minus mutexes unlocked in this execution by pthread_mutex_ functions; recursion counts. After
 * sched_run() has returned anything but 0 says that a lock was left held. Any thread. */
int os_mutexes_left(void);

/* Add to the counter of a simulated eventfd as the kernel does when I/O completes: not a scheduling point, never
 * blocks, and allowed in the scheduler's callbacks. 0, or -EBADF when fd is not a simulated eventfd. A full counter
 * stays full. */
int os_eventfd_signal(int fd, uint64_t count);

/*
 * Which faults of the disk the input may choose in this execution: none, until the program asks for some. Each happens in about one of
 * eight decisions of a random schedule, and never in a first-in-first-out one. On a fiber.
 */
#define OS_AIO_ERRORS      1u /* a request ends with -EIO and has moved nothing */
#define OS_AIO_SHORT       2u /* a request of two blocks or more moves only some of them */
#define OS_AIO_SHORT_BATCH 4u /* io_submit takes only the first ones of several */
#define OS_AIO_EAGAIN      8u /* io_submit takes none; only while a request is in flight, or an event waits in the ring */
#define OS_AIO_REFUSED     16u /* io_submit fails with -ENOMEM for the first of a batch, and takes none */
void os_aio_set_faults(unsigned faults);

/* For TSan: what the kernel has written into a ring comes before what follows an acquire of this. A program that orders its own look at a ring by
 * a barrier, and not by reading the ring's tail with acquire, has it here. No content. */
extern char os_barrier;

/* Mappings of memory files that nobody has unmapped. After sched_run() has returned, any thread. */
uint64_t os_mappings_left(void);

/* AIO contexts not destroyed; events in rings that nobody took. After sched_run() has returned, any thread. */
uint64_t os_aio_contexts_left(void);
uint64_t os_aio_events_left(void);
/* "2 in the ring of context 0"; at most size bytes with the final 0. */
void os_describe_aio_events_left(char *text, size_t size);

#endif
