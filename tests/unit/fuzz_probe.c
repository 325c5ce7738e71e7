/*
 * Probes, and the minimizer's way of trying candidates by them: on a program whose executions do what the first byte of their input says.
 */
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/atomic.h"
#include "fuzz/minimizer.h"
#include "fuzz/probe.h"
#include "sched/sched.h"

enum { SILENT, STOPS, TAKES_ITS_TIME, TURNS, TURNS_AND_CRASHES, TALKS };
enum { MANY = 1000, TURNS_EACH = 10, TALK_BYTES = 200000 };
#define NEVER_S 1000.0
#define SOON_S  0.5

static double deadline;
static int counter;
static int *volatile nowhere;

/* ---- the program */

static double now(void)
{
    return (double)g_get_monotonic_time() * 1e-6;
}

static void *take_turns(void *unused)
{
    for (int i = 0; i < TURNS_EACH; i++) {
        qatomic_set(&counter, i);
    }
    return unused;
}

static void with_another_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, take_turns, NULL);
    take_turns(NULL);
    pthread_join(thread, NULL);
}

/* What a sanitizer does that finds something after much else was printed. */
static void talk_and_end(void)
{
    static char much[TALK_BYTES];
    static const char report[] =
        "\n    #0 0x55 in culprit src/a.c:1:2\n\nSUMMARY: AddressSanitizer: heap-use-after-free src/a.c:1:2 in culprit\n";

    memset(much, '.', sizeof(much));
    g_assert_cmpint(write(STDERR_FILENO, much, sizeof(much)), ==, sizeof(much));
    g_assert_cmpint(write(STDERR_FILENO, report, sizeof(report) - 1), ==, sizeof(report) - 1);
    syscall(SYS_exit_group, 1);
}

static void run(FuzzInput *in)
{
    unsigned kind = fuzz_byte(in);

    if (kind == TURNS || kind == TURNS_AND_CRASHES) {
        with_another_thread();
    }
    if (kind == TURNS_AND_CRASHES) {
        *nowhere = 1;
    }
    sched_passthrough_begin();
    if (kind == STOPS) {
        probe_stop();
    } else if (kind == TAKES_ITS_TIME) {
        while (now() <= deadline) {
        }
    } else if (kind == TALKS) {
        talk_and_end();
    }
    sched_passthrough_end();
}

const FuzzTarget fuzz_target = { .name = "probe", .run = run };

/* ---- what a probe tells */

static Recipe recipe_of(uint8_t kind)
{
    const uint8_t data[] = { kind, 0, 8 }; /* first in, first out, with points at atomics */

    return recipe_from_bytes(data, sizeof(data));
}

static bool probe_kind(uint8_t kind, SchedBase base, ProbeResult *result)
{
    Recipe recipe = recipe_of(kind);
    bool finding;

    recipe.plan.base = base;
    finding = probe_one(&recipe, result);
    recipe_free(&recipe);
    return finding;
}

/* A crash's decisions are those of the execution that crashed, though that has no end: not those of one before it. */
static void test_decisions_of_a_crash(void)
{
    ProbeResult whole, crashed;

    g_assert_false(probe_kind(TURNS, SCHED_BASE_WALK, &whole));
    g_assert_true(probe_kind(TURNS_AND_CRASHES, SCHED_BASE_WALK, &crashed));
    g_assert_true(crashed.cut);
    g_assert_cmpuint(crashed.threads, ==, 2);
    g_assert_cmpuint(crashed.decisions[0], >, 0);
    g_assert_cmpuint(crashed.decisions[1], >, 0);
    g_assert_cmpuint(crashed.decisions[1], ==, whole.decisions[1]);
}

/* However much was printed before it. */
static void test_report_after_much_output(void)
{
    ProbeResult result;

    g_assert_true(probe_kind(TALKS, SCHED_BASE_FIFO, &result));
    g_assert_cmpstr(result.verdict, ==, "use-after-free");
    g_assert_cmpstr(result.key, ==, "use-after-free heap-use-after-free stack=culprit");
}

/* ---- when it is over */

static ProbeAnswer take(const ProbeResult *result, unsigned index, void *unused)
{
    (void)result;
    (void)index;
    (void)unused;
    return PROBE_TAKE;
}

/* Many that are silent, but for the second. */
static GArray *batch_with(uint8_t kind)
{
    GArray *batch = minimizer_batch();

    for (unsigned i = 0; i < MANY; i++) {
        minimizer_batch_add(batch, recipe_of(i == 1 ? kind : SILENT));
    }
    return batch;
}

/* Returns how many were run of a batch in which nothing was found. */
static uint64_t probes_of(uint8_t kind, double until)
{
    uint64_t before = probe_executions();
    GArray *batch = batch_with(kind);
    ProbeResult result;

    g_assert_cmpuint(probe_first(&g_array_index(batch, Recipe, 0), MANY, until, take, NULL, &result), ==, MANY);
    g_array_free(batch, TRUE);
    return probe_executions() - before;
}

/* A deadline ends a batch in its middle; not later, and on a machine that is slow enough earlier. */
static void test_deadline(void)
{
    deadline = 0;
    g_assert_cmpuint(probes_of(TAKES_ITS_TIME, 0), ==, MANY);
    g_assert_cmpuint(probes_of(TAKES_ITS_TIME, now() + NEVER_S), ==, MANY);
    g_assert_cmpuint(probes_of(TAKES_ITS_TIME, now()), ==, 0);
    deadline = now() + SOON_S;
    g_assert_cmpuint(probes_of(TAKES_ITS_TIME, deadline), <=, 2);
}

static Minimizer begin(uint8_t kind, SchedBase base)
{
    Minimizer m = { .deadline = now() + NEVER_S, .others = g_array_new(FALSE, FALSE, sizeof(MinimizerOther)) };
    Recipe recipe = recipe_of(kind);
    ProbeResult result;

    recipe.plan.base = base;
    g_assert_true(probe_one(&recipe, &result));
    minimizer_begin(&m, &recipe, &result);
    g_assert_true(recipe_equal(&m.best, &recipe));
    recipe_free(&recipe);
    return m;
}

static void end(Minimizer *m)
{
    g_array_free(m->others, TRUE);
    minimizer_end(m);
}

/* The first best one is the finding as it was written: any other form is a candidate, which is run before it takes the best one's place. */
static void test_begins_as_it_was_written(void)
{
    Minimizer m = begin(TURNS_AND_CRASHES, SCHED_BASE_WALK);

    g_assert_cmpint(m.best.plan.base, ==, SCHED_BASE_WALK);
    end(&m);
}

static uint64_t candidates_of(Minimizer *m, uint8_t kind)
{
    uint64_t before = probe_executions();

    g_assert_cmpint(minimizer_try(m, batch_with(kind), MINIMIZER_SAME_KEY), ==, -1);
    return probe_executions() - before;
}

/* The part of the time that is kept counts, too, while the best one cannot be written. */
static void test_minimizer_deadline(void)
{
    Minimizer m = begin(TURNS_AND_CRASHES, SCHED_BASE_FIFO);

    deadline = now() + SOON_S;
    m.deadline = deadline + NEVER_S;
    m.kept_s = NEVER_S;
    m.cost.overflow = 1;
    g_assert_cmpuint(candidates_of(&m, TAKES_ITS_TIME), <=, 2);
    g_assert_true(minimizer_stopped(&m));
    m.cost.overflow = 0;
    g_assert_false(minimizer_stopped(&m));
    g_assert_cmpuint(candidates_of(&m, TAKES_ITS_TIME), ==, MANY);
    end(&m);
}

/* The last: it is for good. What a child is asked by a signal to its parent, it asks itself here. */
static void test_stop(void)
{
    Minimizer m = begin(TURNS_AND_CRASHES, SCHED_BASE_FIFO);
    ProbeResult result;

    g_assert_cmpuint(candidates_of(&m, STOPS), ==, 2);
    g_assert_true(minimizer_stopped(&m));
    g_assert_cmpuint(probes_of(SILENT, 0), ==, 0);
    g_assert_true(probe_kind(TURNS_AND_CRASHES, SCHED_BASE_FIFO, &result));
    end(&m);
}

int main(int argc, char **argv)
{
    probe_prepare(argv);
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions(); /* abort() is what probes handle, and would look like success */
    driver_init();
    probe_init();
    sched_install_fault_handler();
    g_test_add_func("/probe/decisions-of-a-crash", test_decisions_of_a_crash);
    g_test_add_func("/probe/report-after-much-output", test_report_after_much_output);
    g_test_add_func("/probe/deadline", test_deadline);
    g_test_add_func("/minimizer/begins-as-it-was-written", test_begins_as_it_was_written);
    g_test_add_func("/minimizer/deadline", test_minimizer_deadline);
    g_test_add_func("/minimizer/stop", test_stop);
    return g_test_run();
}
