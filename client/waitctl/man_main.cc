#include <cstdio>

#include "client/waitctl/app.h"

int main() { return std::fputs(waitd::ctl::ManPage().c_str(), stdout) < 0 ? 1 : 0; }
