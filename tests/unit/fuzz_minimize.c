/*
 * What minimizing leaves on disk and says of it where not all that is to be written can be: GLib's function that writes files is this one here.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/minimize.h"
#include "sched/sched.h"

enum { INPUT_BYTES = 40 };
#define SECONDS 1000.0 /* takes a hundredth of one */

static bool another; /* finding is there */

/* The finding: the first byte is not 0. All the rest can go. Another one: it is 0. */
static void run(FuzzInput *in)
{
    if (fuzz_byte(in)) {
        fuzz_violated("not zero");
    }
    if (another) {
        fuzz_violated("zero");
    }
}

const FuzzTarget fuzz_target = { .name = "minimize", .run = run };

static struct {
    unsigned count, first_failure, last_failure; /* from 1 */
} writes;

gboolean g_file_set_contents(const gchar *name, const gchar *contents, gssize length, GError **error)
{
    writes.count++;
    if (writes.count >= writes.first_failure && writes.count <= writes.last_failure) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "no room");
        return FALSE;
    }
    return g_file_set_contents_full(name, contents, length, G_FILE_SET_CONTENTS_CONSISTENT, 0666, error);
}

/* ---- one run */

typedef struct Run {
    char *folder, *input, *output, *said[2]; /* said on stdout and stderr */
    int status;
    char *written; /* what the output holds */
    gsize written_bytes;
} Run;

static int redirect(int fd, const char *path)
{
    int before = dup(fd);

    fflush(NULL);
    g_assert_nonnull(freopen(path, "w", fd == STDOUT_FILENO ? stdout : stderr));
    return before;
}

static void direct_back(int fd, int before)
{
    fflush(NULL);
    dup2(before, fd);
    close(before);
}

static Run minimize(unsigned first_failure, unsigned last_failure)
{
    Run r = { .folder = g_dir_make_tmp("wakefuzz-test-XXXXXX", NULL) };
    uint8_t input[INPUT_BYTES];
    int before[2];
    char *paths[2];

    memset(input, 200, sizeof(input));
    input[INPUT_BYTES - 1] = input[INPUT_BYTES - 2] = 0; /* first in, first out */
    r.input = g_build_filename(r.folder, "input", NULL);
    r.output = g_build_filename(r.folder, "output", NULL);
    g_assert_true(g_file_set_contents_full(r.input, (const char *)input, sizeof(input), G_FILE_SET_CONTENTS_NONE, 0666, NULL));
    for (int i = 0; i < 2; i++) {
        paths[i] = g_strdup_printf("%s/said-%d", r.folder, i);
        before[i] = redirect(STDOUT_FILENO + i, paths[i]);
    }
    writes.count = 0;
    writes.first_failure = first_failure;
    writes.last_failure = last_failure;
    r.status = minimize_file("minimize", r.input, r.output, SECONDS);
    for (int i = 0; i < 2; i++) {
        direct_back(STDOUT_FILENO + i, before[i]);
        g_assert_true(g_file_get_contents(paths[i], &r.said[i], NULL, NULL));
        g_remove(paths[i]);
        g_free(paths[i]);
    }
    if (g_file_test(r.output, G_FILE_TEST_EXISTS)) {
        g_assert_true(g_file_get_contents(r.output, &r.written, &r.written_bytes, NULL));
    }
    return r;
}

static void end(Run *r)
{
    g_remove(r->input);
    g_remove(r->output);
    g_assert_cmpint(g_rmdir(r->folder), ==, 0);
    for (int i = 0; i < 2; i++) {
        g_free(r->said[i]);
    }
    g_free(r->written);
    g_free(r->input);
    g_free(r->output);
    g_free(r->folder);
}

/* The figures are those of the file that is there. */
static void says_what_is_there(const Run *r, unsigned bytes)
{
    char *line = g_strdup_printf("\nbytes %d %u\n", INPUT_BYTES, bytes);

    g_assert_cmpint(r->status, ==, 0);
    g_assert_cmpuint(r->written_bytes, ==, bytes);
    g_assert_nonnull(strstr(r->said[0], line));
    g_free(line);
}

static unsigned times_said(const Run *r, const char *words)
{
    unsigned times = 0;

    for (const char *at = r->said[1]; (at = strstr(at, words)); at++) {
        times++;
    }
    return times;
}

/* ---- the tests */

static void test_all_is_written(void)
{
    Run r = minimize(0, 0);

    says_what_is_there(&r, 3);
    g_assert_cmpmem(r.written, r.written_bytes, "\x01\x00\x00", 3);
    g_assert_cmpuint(writes.count, >, 3); /* so that the other tests have some between the first and the last */
    g_assert_cmpstr(r.said[1], ==, "");
    g_assert_nonnull(strstr(r.said[0], "\nrewritten yes\n"));
    end(&r);
}

/* There is no room for the finding itself: nothing is done, and why is said. */
static void test_no_room_at_all(void)
{
    Run r = minimize(1, G_MAXUINT);
    char *line = g_strdup_printf("minimize: cannot write %s: no room\n", r.output);

    g_assert_cmpint(r.status, ==, 2);
    g_assert_null(r.written);
    g_assert_cmpstr(r.said[0], ==, "");
    g_assert_cmpstr(r.said[1], ==, line);
    g_free(line);
    end(&r);
}

/* There is none for what is smaller: the finding as it was stays, and it is said once. */
static void test_no_room_any_more(void)
{
    Run r = minimize(2, G_MAXUINT);

    says_what_is_there(&r, INPUT_BYTES);
    g_assert_nonnull(strstr(r.said[0], "\nscenario 38\n"));
    g_assert_nonnull(strstr(r.said[0], "\nrewritten no\n"));
    g_assert_cmpuint(writes.count, >, 2);
    g_assert_cmpuint(times_said(&r, "no room"), ==, 1);
    end(&r);
}

/* Nor for another finding that was met: that is said of its file, too. */
static void test_no_room_for_another(void)
{
    Run r;

    another = true;
    r = minimize(2, G_MAXUINT);
    another = false;
    g_assert_nonnull(strstr(r.said[0], "\nunwritten-other assertion\t"));
    g_assert_null(strstr(r.said[0], "\nunsaved "));
    g_assert_cmpuint(times_said(&r, "no room"), ==, 2);
    end(&r);
}

/* There was none for a while. */
static void test_room_again(void)
{
    Run r = minimize(2, 3);

    says_what_is_there(&r, 3);
    g_assert_cmpuint(times_said(&r, "no room"), ==, 1);
    end(&r);
}

int main(int argc, char **argv)
{
    probe_prepare(argv);
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions(); /* abort() is what probes handle, and would look like success */
    driver_init();
    probe_init();
    sched_install_fault_handler();
    g_test_add_func("/minimize/all-is-written", test_all_is_written);
    g_test_add_func("/minimize/no-room-at-all", test_no_room_at_all);
    g_test_add_func("/minimize/no-room-any-more", test_no_room_any_more);
    g_test_add_func("/minimize/no-room-for-another", test_no_room_for_another);
    g_test_add_func("/minimize/room-again", test_room_again);
    return g_test_run();
}
