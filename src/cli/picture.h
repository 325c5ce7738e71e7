/* The timeline of a finding as a picture: SVG within HTML. One thread. */
#ifndef WAKEFUZZ_CLI_PICTURE_H
#define WAKEFUZZ_CLI_PICTURE_H

#include "cli/facts.h"

/* Append the picture: lanes of threads from top to bottom, steps from left to right. */
void picture_add(GString *html, JsonObject *facts);

#endif
