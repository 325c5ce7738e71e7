/*
 * wakefuzz run and wakefuzz faults: the hunt and the detection table. There is one implementation of each, tools/hunt and
 * tests/faults/table, and these commands are it: they take the same options and end with the same status.
 */
#include "cli/cli.h"
#include "cli/commands.h"

static int run_tool(const char *path, int argc, char **argv)
{
    char *program = g_build_filename(cli_root(), path, NULL);
    GPtrArray *arguments = g_ptr_array_new();
    int status;

    g_ptr_array_add(arguments, program);
    for (int i = 1; i < argc; i++) {
        g_ptr_array_add(arguments, argv[i]);
    }
    g_ptr_array_add(arguments, NULL);
    status = cli_run_through((const char *const *)arguments->pdata);
    g_ptr_array_free(arguments, TRUE);
    g_free(program);
    return status;
}

int command_run(int argc, char **argv)
{
    return run_tool("tools/hunt", argc, argv);
}

int command_faults(int argc, char **argv)
{
    return run_tool("tests/faults/table", argc, argv);
}
