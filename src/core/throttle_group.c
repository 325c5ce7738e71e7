/*
 * Throttle groups, as throttle_group.h tells.
 *
 * Threads: requests come in any; timers fire, and the coroutines that they start run, in a member's context; members come
 * and go in the main thread.
 */
#include "core/throttle_group.h"

#include "core/aio_wait.h"
#include "core/atomic.h"
#include "core/fatal.h"
#include "core/lockable.h"

/* ------------------------------------------------------------------------------------------- whose turn it is */

/* The others, one after the other, for ever. Under the lock. */
static ThrottleGroupMember *next_member(ThrottleGroupMember *member)
{
    ThrottleGroupMember *next = LIST_NEXT(member, round_robin);

    return next ? next : LIST_FIRST(&member->group->members);
}

/* The next with requests that wait, or member itself where none has. Under the lock. */
static ThrottleGroupMember *next_token(ThrottleGroupMember *member)
{
    ThrottleGroupMember *start = member->group->token, *token = start;

    /* One whose limits are off is being drained: it does not wait for others. */
    if (member->pending_reqs && qatomic_read(&member->io_limits_disabled)) {
        return member;
    }
    do {
        token = next_member(token);
    } while (token != start && !token->pending_reqs);
    return token->pending_reqs ? token : member;
}

/* Must a request of token wait? Where no timer is armed that will see to it, token's is, now. Under the lock. */
static bool schedule_timer(ThrottleGroupMember *token)
{
    ThrottleGroup *group = token->group;

    if (qatomic_read(&token->io_limits_disabled)) {
        return false;
    }
    if (group->any_timer_armed) {
        return true;
    }
    if (group->next_ns <= qemu_clock_get_ns(QEMU_CLOCK_REALTIME)) {
        return false;
    }
    timer_mod_ns(&token->timer, group->next_ns);
    group->token = token;
    group->any_timer_armed = true;
    return true;
}

/* See to the next request of the group, if any waits. Under the lock. */
static void schedule_next_request(ThrottleGroupMember *member)
{
    ThrottleGroup *group = member->group;
    ThrottleGroupMember *token = next_token(member);

    if (!token->pending_reqs || schedule_timer(token)) {
        return;
    }
    /* One may go on at once. Another member's only in its own context, hence by its timer. */
    if (qemu_in_coroutine() && qemu_co_queue_next(&member->throttled_reqs)) {
        token = member;
    } else {
        timer_mod_ns(&token->timer, qemu_clock_get_ns(QEMU_CLOCK_REALTIME));
        group->any_timer_armed = true;
    }
    group->token = token;
}

static void account(ThrottleGroup *group)
{
    int64_t now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    group->next_ns = MAX(group->next_ns, now_ns) + group->interval_ns;
}

void coroutine_fn throttle_group_co_io_limits_intercept(ThrottleGroupMember *member)
{
    ThrottleGroup *group = member->group;
    bool must_wait;

    QEMU_LOCK_GUARD(&group->lock);
    must_wait = schedule_timer(next_token(member));
    if (must_wait || member->pending_reqs) {
        member->pending_reqs++;
        qemu_co_queue_wait(&member->throttled_reqs, &group->lock);
        member->pending_reqs--;
    }
    account(group);
    schedule_next_request(member);
}

/* ------------------------------------------------------------------------------------------- the queue goes on */

typedef struct RestartData {
    ThrottleGroupMember *member;
    bool reset_timer_armed;
} RestartData;

static void coroutine_fn restart_queue_entry(void *opaque)
{
    RestartData data = *(RestartData *)opaque;
    ThrottleGroupMember *member = data.member;

    g_free(opaque);
    WITH_QEMU_LOCK_GUARD(&member->group->lock) {
        if (data.reset_timer_armed) {
            member->group->any_timer_armed = false;
        }

        /* With nobody in the queue and a request on its way, that sees to the next one when it has the lock. To do it here
         * too would arm this very timer, for now, again and again until that request's thread has run. */
        if (!qemu_co_queue_next(&member->throttled_reqs) && member->pending_reqs == 0) {
            schedule_next_request(member);
        }
    }
    /* member may be gone after this */
    qatomic_dec(&member->restart_pending);
    aio_wait_kick();
}

static void restart_queue(ThrottleGroupMember *member, bool reset_timer_armed)
{
    RestartData *data = g_new(RestartData, 1);

    *data = (RestartData){ .member = member, .reset_timer_armed = reset_timer_armed };
    qatomic_inc(&member->restart_pending);
    aio_co_enter(member->aio_context, qemu_coroutine_create(restart_queue_entry, data));
}

static void timer_cb(void *opaque)
{
    ThrottleGroupMember *member = opaque;

    /* Armed again between its expiry and this call, which happens where the member is drained: nobody looks at
     * any_timer_armed then. That time counts. */
    if (timer_pending(&member->timer)) {
        return;
    }
    /* any_timer_armed stays as it is until the queue is looked at. */
    restart_queue(member, true);
}

/* As if the member's timer had fired. */
static void restart_member(ThrottleGroupMember *member)
{
    ThrottleGroup *group = member->group;
    bool reset_timer_armed = true;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        if (timer_pending(&member->timer)) {
            timer_del(&member->timer);
        } else {
            /* Another one's timer must not be disturbed; where there is none, nobody may arm one before the queue has been
             * looked at. */
            reset_timer_armed = !group->any_timer_armed;
            group->any_timer_armed = true;
        }
    }
    restart_queue(member, reset_timer_armed);
}

void throttle_group_drain_begin(ThrottleGroupMember *member)
{
    if (qatomic_fetch_inc(&member->io_limits_disabled) == 0) {
        restart_member(member);
    }
}

void throttle_group_drain_end(ThrottleGroupMember *member)
{
    core_assert(qatomic_fetch_dec(&member->io_limits_disabled) > 0);
}

/* ------------------------------------------------------------------------------------------- groups and members */

void throttle_group_init(ThrottleGroup *group, int64_t interval_ns)
{
    core_assert(interval_ns >= 1);
    *group = (ThrottleGroup){ .interval_ns = interval_ns };
    qemu_mutex_init(&group->lock);
}

void throttle_group_destroy(ThrottleGroup *group)
{
    core_assert(LIST_EMPTY(&group->members));
    qemu_mutex_destroy(&group->lock);
}

void throttle_group_register_member(ThrottleGroup *group, ThrottleGroupMember *member, AioContext *ctx)
{
    *member = (ThrottleGroupMember){ .group = group, .aio_context = ctx };
    aio_timer_init(ctx, &member->timer, QEMU_CLOCK_REALTIME, SCALE_NS, timer_cb, member);
    qemu_co_queue_init(&member->throttled_reqs);
    QEMU_LOCK_GUARD(&group->lock);
    LIST_INSERT_HEAD(&group->members, member, round_robin);
    if (!group->token) {
        group->token = member;
    }
}

/* In the thread of the timer, so that its callback is not running. Another member may have armed it for a request that was
 * on its way already: somebody else has to see to the next one. */
static void give_timer_up(void *opaque)
{
    ThrottleGroupMember *member = opaque;
    ThrottleGroup *group = member->group;

    QEMU_LOCK_GUARD(&group->lock);
    if (timer_pending(&member->timer)) {
        timer_del(&member->timer);
        group->any_timer_armed = false;
        schedule_next_request(member);
    }
}

void throttle_group_unregister_member(ThrottleGroupMember *member)
{
    ThrottleGroup *group = member->group;

    aio_wait_bh_oneshot(member->aio_context, give_timer_up, member);

    /* ORDER: restart_pending before what the caller makes of the member
     * PAIRS: restart_queue_entry()
     * ELSE:  the last that is done to the member is done to what lies there now; docs/findings.md, T4 */
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_load_acquire(&member->restart_pending) > 0);

    QEMU_LOCK_GUARD(&group->lock);
    core_assert(member->pending_reqs == 0);
    core_assert(qemu_co_queue_empty(&member->throttled_reqs));
    core_assert(!timer_pending(&member->timer));
    if (group->token == member) {
        group->token = next_member(member) == member ? NULL : next_member(member);
    }
    LIST_REMOVE(member, round_robin);
}
