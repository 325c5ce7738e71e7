/* The step table and the text of a cause, letter by letter, on traces written by hand. */
#include "check_graph_lock_trace.h"
#include "check_taken_trace.h"

#include <stdlib.h>

#include "report/cause_text.h"
#include "report/rows.h"
#include "report/step_table.h"

typedef struct Page {
    char *text;
    size_t size;
    FILE *out;
} Page;

static FILE *open_page(Page *page)
{
    page->out = open_memstream(&page->text, &page->size);
    g_assert_nonnull(page->out);
    return page->out;
}

static void assert_page(Page *page, const char *expected)
{
    fclose(page->out);
    g_assert_cmpstr(page->text, ==, expected);
    free(page->text);
}

static CheckResult missed_wakeup(SchedProbe probe)
{
    CheckResult check = { .verdict = CHECK_MISSED_WAKEUP, .culprit = sched_thread_by_id(0), .step = CHECK_NO_STEP };

    check_cause_find(check_trace(), 0, &probe, &check.cause);
    return check;
}

static void print_table(FILE *out, const CheckResult *check)
{
    ReportRow rows[REPORT_ROWS_MAX];
    size_t hidden;
    unsigned count = report_choose_rows(check_trace(), check, rows, &hidden);

    report_step_table(out, check_trace(), rows, count, hidden);
}

/* /report/table/graph-lock: the function once per run of rows, the coroutine likewise; the marks at the bug; nothing
 * after the end. */
static void test_graph_lock(void)
{
    Page page;

    fake_reset();

    CheckResult check = missed_wakeup(graph_lock_trace());

    print_table(open_page(&page), &check);
    assert_page(&page, "  step | main                                      | iothread0\n"
                       "  -----+-------------------------------------------+-----------------------------------------------\n"
                       "     0 | creates a thread                          |\n"
                       "     1 |                                           | thread starts\n"
                       "     2 |                                           | [co 2] bdrv_graph_co_rdl…: reader_count 0 -> 1\n"
                       "     3 | bdrv_graph_wrlock: has_writer 1 -> 0      |\n"
                       "     4 | num_waiters 0 -> 1                        |\n"
                       "     5 | reader_count: reader_count == 1           |\n"
                       "     6 | poll: asleep                              |\n"
                       "   * 7 |                                           | bdrv_graph_co_rdunlock: reader_count 1 -> 0\n"
                       "   * 8 |                                           | has_writer == 0: no wakeup\n"
                       "     9 |                                           | poll: asleep\n"
                       "    11 | (by hand) reader_count: reader_count == 0 |\n");
}

/* /report/table/cause */
static void test_cause(void)
{
    const CheckExperiment experiment = { .progress = CHECK_LEFT_ITS_WAIT };
    Page page;

    fake_reset();

    CheckResult check = missed_wakeup(graph_lock_trace());

    report_cause(open_page(&page), check_trace(), &check, &experiment);
    assert_page(&page, "  cause  step 7, iothread0: reader_count 1 -> 0 made main's condition true (file.c:40);\n"
                       "         step 8, iothread0: read has_writer == 0, written by main at step 3, and did not wake main.\n"
                       "         Woken by hand, main leaves its wait: a missed wakeup, not a deadlock.\n");
}

/* /report/table/cause-taken: who took the wakeup; the object by the name that tells what it is, and the threads of one
 * name by their numbers. */
static void test_cause_taken(void)
{
    const CheckExperiment experiment = { .progress = CHECK_LEFT_ITS_WAIT };
    Page page;

    fake_reset();

    CheckResult check = missed_wakeup(taken_trace());

    report_cause(open_page(&page), check_trace(), &check, &experiment);
    assert_page(&page, "  cause  step 4, asker (thread 1): active_timers NULL -> p1 made main's condition true (file.c:208);\n"
                       "         step 6, asker (thread 1): eventfd write woke main;\n"
                       "         step 7, asker (thread 2): eventfd read in ?? took that wakeup before main had looked.\n"
                       "         Woken by hand, main leaves its wait: a missed wakeup, not a deadlock.\n");
}

/* /report/table/cause-unknown: what is not known is not guessed. */
static void test_cause_unknown(void)
{
    const CheckExperiment experiment = { .progress = CHECK_DID_SOMETHING };
    Page page;
    CheckResult check = { .verdict = CHECK_LATE_WAKEUP };

    fake_reset();
    fake_thread("main", NULL);
    report_cause(open_page(&page), check_trace(), &check, &experiment);
    assert_page(&page, "  cause  Woken by hand, main finds work that waited for it: it did not have to wait for a timer.\n");
}

/* /report/table/many: more steps matter than there is room for: those of the bug stay, and of the others the latest. */
static void test_many(void)
{
    ReportRow rows[REPORT_ROWS_MAX];
    CheckResult check = { .verdict = CHECK_MISSED_WAKEUP, .step = CHECK_NO_STEP };
    SchedSite *write, *look;
    SchedProbe probe;
    size_t hidden, first;

    fake_reset();
    fake_thread("main", NULL);
    fake_thread("worker", NULL);
    write = fake_site(SCHED_STORE, "work", "&left", 1);
    look = fake_site(SCHED_LOAD, "wait", "&left", 2);
    first = fake_load(0, look, 1, 100);
    fake_sleep(fake_call(0, SCHED_CALL_POLL, 2, NULL));
    for (unsigned i = 100; i > 0; i--) {
        fake_store(1, write, 1, i, i - 1);
    }
    probe.first_step = fake_count();
    fake_load(0, look, 1, 0);
    probe.end_step = fake_count();
    fake_by_hand(probe.first_step, probe.end_step);
    check_cause_find(check_trace(), 0, &probe, &check.cause);
    g_assert_cmpuint(report_choose_rows(check_trace(), &check, rows, &hidden), ==, REPORT_ROWS_MAX);
    g_assert_cmpuint(hidden, ==, 103 - REPORT_ROWS_MAX);
    g_assert_cmpuint(rows[0].step, ==, first);
    g_assert_cmpuint(rows[2].step, ==, fake_count() - REPORT_ROWS_MAX + 2);
    g_assert_true(rows[REPORT_ROWS_MAX - 2].marked);
    g_assert_true(rows[REPORT_ROWS_MAX - 1].by_hand);
}

static void assert_field(const char *expression, const char *field)
{
    char buffer[64];
    Text text = text_begin(buffer, sizeof(buffer));

    report_add_field(&text, expression);
    g_assert_cmpstr(buffer, ==, field);
}

/* /report/text/fields */
static void test_fields(void)
{
    assert_field("&ctx->notify_me", "notify_me");
    assert_field("&(ctx)->notify_me", "notify_me");
    assert_field("&has_writer", "has_writer");
    assert_field("&(has_writer)", "has_writer");
    assert_field("&global_aio_wait.num_waiters", "num_waiters");
    assert_field("&bs->parents[child->index].count", "count");
    assert_field("&counters[ctx->id]", "counters[ctx->id]");
    assert_field("flag", "flag");
}

static void assert_value(ReportValues *values, uint64_t value, unsigned bytes, const char *expected)
{
    char buffer[64];
    Text text = text_begin(buffer, sizeof(buffer));

    report_add_value(&text, values, value, bytes);
    g_assert_cmpstr(buffer, ==, expected);
}

/* /report/text/values: no address gets in; a pointer keeps its name. */
static void test_values(void)
{
    ReportValues values = { .count = 0 };

    assert_value(&values, 0, 8, "0");
    assert_value(&values, 0x7fff12345678, 8, "p1");
    assert_value(&values, 0x602000000010, 8, "p2");
    assert_value(&values, 0x7fff12345678, 8, "p1");
    assert_value(&values, 600000000000, 8, "600000000000");
    assert_value(&values, 0xffffffff, 4, "-1");
    assert_value(&values, UINT64_MAX, 8, "-1");
    assert_value(&values, 255, 1, "255");
    assert_value(&values, 0x80000000, 4, "0x80000000");
}

static void assert_duration(uint64_t ns, const char *expected)
{
    char buffer[64];
    Text text = text_begin(buffer, sizeof(buffer));

    text_add_duration(&text, ns);
    g_assert_cmpstr(buffer, ==, expected);
}

/* /report/text/durations */
static void test_durations(void)
{
    assert_duration(600000000000, "600 s");
    assert_duration(1500000000, "1.5 s");
    assert_duration(20000000, "20 ms");
    assert_duration(40000, "40 us");
    assert_duration(12, "12 ns");
    assert_duration(0, "0 ns");
}

/* /report/text/calls */
static void test_calls(void)
{
    char buffer[128];
    ReportValues values = { .count = 0 };
    Text text = text_begin(buffer, sizeof(buffer));

    fake_reset();
    fake_thread("main", NULL);
    fake_step(fake_call(0, SCHED_CALL_EVENTFD, 0, NULL))->new_value = 7;
    report_add_step(&text, &values, check_trace(), fake_call(0, SCHED_CALL_WRITE, 7, NULL));
    text_add(&text, "; ");
    report_add_step(&text, &values, check_trace(), fake_call(0, SCHED_CALL_WRITE, 8, NULL));
    text_add(&text, "; ");
    report_add_step(&text, &values, check_trace(), fake_call(0, SCHED_CALL_FUTEX_WAKE, 9, NULL));
    text_add(&text, "; ");
    fake_sleep(fake_call(0, SCHED_CALL_COND_WAIT, 9, NULL));
    report_add_step(&text, &values, check_trace(), fake_count() - 1);
    text_add(&text, "; ");
    report_add_step(&text, &values, check_trace(), fake_call(0, SCHED_CALL_MUTEX_LOCK, 3, NULL));
    g_assert_cmpstr(buffer, ==, "eventfd write; write; futex wake; cond wait: asleep; mutex lock #3");
}

/* /report/table/threads: seven threads: the last two share a column, and say who they are. */
static void test_threads(void)
{
    CheckResult check = { .verdict = CHECK_ASSERTION, .step = CHECK_NO_STEP };
    Page page;

    fake_reset();
    for (unsigned i = 0; i < 7; i++) {
        g_autofree char *name = g_strdup_printf("t%u", i);

        fake_thread(name, NULL);
        fake_load(i, fake_site(SCHED_LOAD, "f", "&x", 1), 1, i);
    }
    print_table(open_page(&page), &check);
    assert_page(&page, "  step | t0        | t1        | t2        | t3        | t4        | others\n"
                       "  -----+-----------+-----------+-----------+-----------+-----------+--------------\n"
                       "     0 | f: x == 0 |           |           |           |           |\n"
                       "     1 |           | f: x == 1 |           |           |           |\n"
                       "     2 |           |           | f: x == 2 |           |           |\n"
                       "     3 |           |           |           | f: x == 3 |           |\n"
                       "     4 |           |           |           |           | f: x == 4 |\n"
                       "     5 |           |           |           |           |           | t5: f: x == 5\n"
                       "     6 |           |           |           |           |           | t6: f: x == 6\n");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/report/table/graph-lock", test_graph_lock);
    g_test_add_func("/report/table/cause", test_cause);
    g_test_add_func("/report/table/cause-taken", test_cause_taken);
    g_test_add_func("/report/table/cause-unknown", test_cause_unknown);
    g_test_add_func("/report/table/many", test_many);
    g_test_add_func("/report/table/threads", test_threads);
    g_test_add_func("/report/text/fields", test_fields);
    g_test_add_func("/report/text/values", test_values);
    g_test_add_func("/report/text/durations", test_durations);
    g_test_add_func("/report/text/calls", test_calls);
    return g_test_run();
}
