// The one translation unit with doctest's own code; the tests include doctest/doctest.h alone.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
