/* The experiment at quiescence: who is tried, in which order, and what counts as progress. Probes follow a script. */
#include "check_fake_sched.h"

#include "check/check.h"

static const SchedBlock poll_wait = { .call = SCHED_CALL_POLL, .spurious_ok = true, .deadline_ns = SCHED_FOREVER };
static const SchedBlock cond_wait = { .call = SCHED_CALL_COND_WAIT, .spurious_ok = true, .deadline_ns = SCHED_FOREVER };
static const SchedBlock lock_wait = { .call = SCHED_CALL_MUTEX_LOCK, .deadline_ns = SCHED_FOREVER };
static const SchedBlock nap = { .call = SCHED_CALL_SLEEP, .spurious_ok = true, .sleeping = true, .deadline_ns = 5 };

static const SchedProbe asleep_again = { .same_wait = true };
static const SchedProbe elsewhere = { .same_wait = false };
static const SchedProbe spins = { .bounded = true };

static SchedThread *only;
static SchedSite *bh_list, *progress_site;

static void begin(const SchedBlock *block)
{
    fake_reset();
    check_init();
    check_experiment_reset();
    bh_list = fake_site(SCHED_LOAD, "aio_bh_poll", "&ctx->bh_list", 1);
    progress_site = fake_site(SCHED_LOAD, "work", "&work", 2);
    only = fake_thread("main", block);
}

static void idle_turn(void)
{
    fake_load(0, bh_list, 1, 0);
    fake_call(0, SCHED_CALL_POLL, 2, NULL);
}

static void working_turn(void)
{
    fake_load(0, bh_list, 1, 1);
    fake_load(0, progress_site, 3, 1);
    fake_call(0, SCHED_CALL_POLL, 2, NULL);
}

static void lock_again(void)
{
    fake_call(0, SCHED_CALL_MUTEX_LOCK, 2, NULL);
    fake_set_block(only, &lock_wait);
}

static void spin_turn(void)
{
    for (unsigned i = 0; i < 10; i++) {
        fake_load(0, bh_list, 1, 0);
    }
}

static void assert_progress(CheckProgress progress)
{
    g_assert_true(fake_examiner() == (progress == CHECK_STUCK ? NULL : only));
    g_assert_cmpint(check_experiment()->progress, ==, progress);
    g_assert_cmpuint(check_experiment()->examined, ==, 1);
}

/* /check/examine/idle-loop: it polls again, and again in the same way: nothing was there. */
static void test_idle_loop(void)
{
    begin(&poll_wait);
    fake_script_probe(only, asleep_again, idle_turn);
    fake_script_probe(only, asleep_again, idle_turn);
    assert_progress(CHECK_STUCK);
}

static void idle_turn_that_polls_longer(void)
{
    for (unsigned i = 0; i < 5; i++) {
        fake_load(0, bh_list, 1, 0);
    }
    fake_call(0, SCHED_CALL_POLL, 2, NULL);
}

/* /check/examine/idle-loop-that-polls: how often a loop looks before it sleeps is no work. */
static void test_idle_loop_that_polls(void)
{
    begin(&poll_wait);
    fake_script_probe(only, asleep_again, idle_turn_that_polls_longer);
    fake_script_probe(only, asleep_again, idle_turn);
    assert_progress(CHECK_STUCK);
}

/* /check/examine/work-was-there: it polls again, but the second look differs from the first. */
static void test_work_was_there(void)
{
    begin(&poll_wait);
    fake_script_probe(only, asleep_again, working_turn);
    fake_script_probe(only, asleep_again, idle_turn);
    assert_progress(CHECK_DID_SOMETHING);
    g_assert_cmpuint(check_experiment()->probe.end_step - check_experiment()->probe.first_step, ==, 3);
}

static void tidying_turn(void)
{
    fake_load(0, bh_list, 1, 1);
    fake_load(0, fake_site(SCHED_LOAD, "tidy_up", "&bh->flags", 3), 3, 1);
    fake_call(0, SCHED_CALL_POLL, 2, NULL);
}

/* /check/examine/only-tidied-up: the second look differs from the first by housekeeping alone: nothing was there. */
static void test_only_tidied_up(void)
{
    begin(&poll_wait);
    check_housekeeping("tidy_up");
    fake_script_probe(only, asleep_again, tidying_turn);
    fake_script_probe(only, asleep_again, idle_turn);
    assert_progress(CHECK_STUCK);
}

static void looking_turn(void)
{
    fake_load(0, bh_list, 1, 1);
    fake_step(fake_load(0, progress_site, 3, 1))->flags |= SCHED_STEP_LOOK;
    fake_step(fake_call(0, SCHED_CALL_POLL, 4, NULL))->flags |= SCHED_STEP_LOOK;
    fake_call(0, SCHED_CALL_POLL, 2, NULL);
}

/* /check/examine/only-looked: the second look differs from the first by steps that only look, calls among them. */
static void test_only_looked(void)
{
    begin(&poll_wait);
    fake_script_probe(only, asleep_again, looking_turn);
    fake_script_probe(only, asleep_again, idle_turn);
    assert_progress(CHECK_STUCK);
}

/* /check/examine/left, /ended, /others: the plain cases need no control. */
static void test_left(void)
{
    begin(&poll_wait);
    fake_script_probe(only, elsewhere, idle_turn);
    assert_progress(CHECK_LEFT_ITS_WAIT);
}

static void test_ended(void)
{
    begin(&poll_wait);
    fake_script_probe(only, (SchedProbe){ .ended = true }, NULL);
    assert_progress(CHECK_ENDED);
}

static void test_others(void)
{
    begin(&poll_wait);
    fake_script_probe(only, (SchedProbe){ .same_wait = true, .others_enabled = true }, idle_turn);
    assert_progress(CHECK_LET_OTHERS_GO);
}

/* /check/examine/spin: it does not sleep again, but turns in circles: no progress, in whatever phase the control
 * begins. */
static void test_spin(void)
{
    begin(&poll_wait);
    fake_script_probe(only, spins, spin_turn);
    fake_script_probe(only, spins, spin_turn);
    assert_progress(CHECK_STUCK);
}

/* /check/examine/spin-then-work: the control reaches what the first probe did not. */
static void test_spin_then_work(void)
{
    begin(&poll_wait);
    fake_script_probe(only, spins, spin_turn);
    fake_script_probe(only, spins, working_turn);
    assert_progress(CHECK_DID_SOMETHING);
}

/* /check/examine/mutex-held: a condition wait that cannot get its mutex back has not looked at anything yet. */
static void test_mutex_held(void)
{
    begin(&cond_wait);
    fake_script_probe(only, elsewhere, lock_again);
    assert_progress(CHECK_STUCK);
}

/* /check/examine/condition: one that gets it and goes elsewhere was owed its wakeup. */
static void test_condition(void)
{
    begin(&cond_wait);
    fake_script_probe(only, elsewhere, working_turn);
    assert_progress(CHECK_LEFT_ITS_WAIT);
}

/* /check/examine/whom: a lock must not return for no reason, a nap is no lost wakeup; the rest in order of ids, up to
 * the first. */
static void test_whom(void)
{
    SchedThread *second, *third;

    begin(&lock_wait);
    fake_thread("napping", &nap);
    fake_thread("runs", NULL);
    second = fake_thread("second", &poll_wait);
    third = fake_thread("third", &poll_wait);
    fake_thread("fourth", &poll_wait); /* has no script: a probe of it ends the test */
    fake_script_probe(second, asleep_again, NULL);
    fake_script_probe(second, asleep_again, NULL);
    fake_script_probe(third, elsewhere, NULL);
    g_assert_true(fake_examiner() == third);
    g_assert_cmpuint(check_experiment()->examined, ==, 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check/examine/idle-loop", test_idle_loop);
    g_test_add_func("/check/examine/idle-loop-that-polls", test_idle_loop_that_polls);
    g_test_add_func("/check/examine/work-was-there", test_work_was_there);
    g_test_add_func("/check/examine/only-tidied-up", test_only_tidied_up);
    g_test_add_func("/check/examine/only-looked", test_only_looked);
    g_test_add_func("/check/examine/left", test_left);
    g_test_add_func("/check/examine/ended", test_ended);
    g_test_add_func("/check/examine/others", test_others);
    g_test_add_func("/check/examine/spin", test_spin);
    g_test_add_func("/check/examine/spin-then-work", test_spin_then_work);
    g_test_add_func("/check/examine/mutex-held", test_mutex_held);
    g_test_add_func("/check/examine/condition", test_condition);
    g_test_add_func("/check/examine/whom", test_whom);
    return g_test_run();
}
