/* Building what a command needs, as tools/hunt does for itself. See cli.h. One thread. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/cli.h"

/* Two commands may want the same build folder at the same time, and ninja itself does not notice. -1 with a message. */
static int lock_folder(const char *flavour)
{
    char *path = g_strdup_printf("%s/.lock-%s", cli_build(), flavour);
    int descriptor = -1;

    if (g_mkdir_with_parents(cli_build(), 0777) == 0) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    }
    if (descriptor < 0 || flock(descriptor, LOCK_EX) != 0) {
        cli_fail("cannot use the folder %s: %s; WAKEFUZZ_BUILD names another", cli_build(), g_strerror(errno));
        if (descriptor >= 0) {
            close(descriptor);
        }
        descriptor = -1;
    }
    g_free(path);
    return descriptor;
}

/* The last line that a compiler or a build tool has written: what went wrong is there, or its log is named there. */
static const char *last_line(char *text)
{
    char *line = strrchr(g_strchomp(text), '\n');

    return line ? line + 1 : text;
}

static bool run_step(const char *const *arguments, const char *what)
{
    CliRun run;
    bool good;

    if (!cli_run(arguments, &run)) {
        return false;
    }
    good = run.status == 0;
    if (!good) {
        char *command = g_strjoinv(" ", (char **)arguments);

        cli_fail("cannot %s: %s: %s (is all there? tools/setup --check)", what, command,
                 last_line(run.out[0] ? run.out : run.err));
        g_free(command);
    }
    cli_run_free(&run);
    return good;
}

static bool configure(const char *flavour, const char *folder)
{
    char *native = g_strdup_printf("%s/sanitizers/%s.ini", cli_root(), flavour);
    char *ninja = g_build_filename(folder, "build.ninja", NULL);
    const char *arguments[] = { "meson", "setup", folder, cli_root(), "-Dwerror=true", "--native-file", native, NULL };
    bool good = g_file_test(ninja, G_FILE_TEST_EXISTS) || run_step(arguments, "configure");

    g_free(ninja);
    g_free(native);
    return good;
}

bool cli_make(const char *flavour, char *const *programs)
{
    char *folder = g_build_filename(cli_build(), flavour, NULL);
    GPtrArray *arguments = g_ptr_array_new();
    int lock = lock_folder(flavour);
    bool good = lock >= 0 && configure(flavour, folder);

    g_ptr_array_add(arguments, (gpointer) "ninja");
    g_ptr_array_add(arguments, (gpointer) "-C");
    g_ptr_array_add(arguments, folder);
    for (; *programs; programs++) {
        g_ptr_array_add(arguments, *programs + strlen(folder) + 1);
    }
    g_ptr_array_add(arguments, NULL);
    good = good && run_step((const char *const *)arguments->pdata, "build");
    g_ptr_array_free(arguments, TRUE);
    if (lock >= 0) {
        close(lock);
    }
    g_free(folder);
    return good;
}
