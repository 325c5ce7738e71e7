/*
 * The loop's epoll: what an aio_poll() sleeps in, in place of ppoll(), once its context has so many descriptors that handing all of them to
 * the kernel each time costs more than to keep them there.
 *
 * A context begins with ppoll(). When the loop comes to its sleep and finds enough descriptors, it adds all of them to the epoll file, and from
 * then on whoever sets or removes a handler changes that file, too. Between the two no handler may get lost:
 *
 *        | the loop                                      | a thread that sets a handler
 *      1 | walks the list, adds each handler to epoll    |
 *      2 |                                               | locks the list; puts its handler in at the head, behind the walk's back
 *      3 |                                               | state is AIO_EPOLL_NOT_YET: nothing to do for epoll; unlocks, notifies
 *      4 | state = AIO_EPOLL_ACTIVE                      |
 *      5 | sleeps in epoll_wait, without that handler    |
 *
 * So 1 to 4 hold the list's lock, and 2 comes before 1 or after 4 (QEMU e62da98527; fault epoll-upgrade-misses-a-handler). The lock cannot be
 * had while an aio_poll() around this one walks: then the upgrade waits for a later round.
 *
 * Invariants
 *  1. While state is AIO_EPOLL_ACTIVE and nobody holds list_lock, what epoll watches is each handler that is not deleted and asks for events.
 *  2. What epoll knows of a handler ends before the handler is freed, or somebody walks the list and it is not freed.
 *  3. state goes from AIO_EPOLL_NOT_YET to AIO_EPOLL_ACTIVE, and from either to AIO_EPOLL_GIVEN_UP, where it stays.
 *
 * From QEMU: util/fdmon-epoll.c as of 8.0 and later.
 */
#ifndef WAKEFUZZ_CORE_AIO_EPOLL_H
#define WAKEFUZZ_CORE_AIO_EPOLL_H

#include "core/aio_context.h"

/*
 * Let aio_poll() use epoll from the round on in which the context has min_fds descriptors, its notifier among them; where the kernel does not
 * take one of them, such as a regular file's, ppoll() is used for good. Returns 0 or a negative errno. Home thread, once in a context's life.
 */
int aio_context_set_epoll(AioContext *ctx, unsigned min_fds);

/* Whether aio_poll() sleeps in epoll now. Any thread that came after the call above. For oracles: no point, and no part of the program. */
bool aio_context_uses_epoll(AioContext *ctx);

#endif
