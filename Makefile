# The front door. `make` says what there is.

# What is built with, tested with, and looked over with; by the names of Debian 12.
BUILD_PACKAGES := curl g++ cmake ninja-build ccache pkg-config libgrpc++-dev libgrpc-dev libssl-dev libprotobuf-dev \
  protobuf-compiler protobuf-compiler-grpc libabsl-dev libspdlog-dev libcli11-dev \
  prometheus-cpp-dev libcivetweb-dev librocksdb-dev
BENCH_PACKAGES := redis-server nats-server gnuplot-nox
TEST_PACKAGES := $(BENCH_PACKAGES) libgtest-dev libbenchmark-dev python3 python3-pytest python3-grpcio \
  python3-protobuf python3-yaml prometheus spin gcc golang-go man-db mount clang libclang-rt-14-dev \
  libfaketime bubblewrap openssl nginx-light
LINT_PACKAGES := clang clang-format clang-tidy shellcheck git

# What the package and the image are made with, and what their tests look at them with.
DEB_PACKAGES := dpkg-dev file gzip
IMAGE_PACKAGES := mmdebstrap buildah
TEST_PACKAGES += systemd python3-seccomp

PREFIX ?= /usr/local
JOBS ?= $(shell nproc)

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: demo
demo: build ## Build waitd and watch it at work
	tests/demo/demo.sh build/release/bin

.PHONY: test
test: deps-test configure-release ## Build and run every test
	cmake --build --preset release -j $(JOBS)
	ctest --preset release

.PHONY: build
build: deps ## Leave build/release/bin/waitd and waitctl
	cmake --preset release -DBUILD_TESTING=OFF >/dev/null
	cmake --build --preset release -j $(JOBS)

.PHONY: configure-release
configure-release:
	cmake --preset release -DBUILD_TESTING=ON >/dev/null

.PHONY: deps deps-test deps-lint
deps: ## Install what waitd is built with
	@tests/tools/install-packages.sh $(BUILD_PACKAGES)
deps-test: node_modules/.package-lock.json ## Install what the tests need, too
	@tests/tools/install-packages.sh $(BUILD_PACKAGES) $(TEST_PACKAGES)
deps-lint: node_modules/.package-lock.json ## Install what lint needs, too
	@tests/tools/install-packages.sh $(BUILD_PACKAGES) $(TEST_PACKAGES) $(LINT_PACKAGES)

# What the tests call is pinned in package.json. A lock file would name where it came from.
# Node by the distribution's package only where there is none: others bring npm in one package, which
# does not go together with it. Without peers: that of helm's package is a hundred megabytes of nothing.
node_modules/.package-lock.json: package.json
	@command -v npm >/dev/null || tests/tools/install-packages.sh nodejs npm
	npm install --no-package-lock --no-audit --no-fund --omit=peer
	@touch $@

.PHONY: lint
lint: deps-lint configure-release ## Look the code over
	tests/lint/lint.sh build/release

.PHONY: format
format: deps-lint ## Bring C++ and proto files into form
	git ls-files --cached --others --exclude-standard '*.h' '*.cc' | xargs clang-format -i
	node_modules/.bin/buf format -w

.PHONY: chart
chart: ## Bring the Helm chart in step with its values, the rules, the dashboard and the edge
	deploy/helm/sync.py

.PHONY: install
install: build ## Install waitd, waitctl and their manual pages below PREFIX
	cmake --install build/release --prefix $(PREFIX)

# The same sources give the same bytes: of the time only that of the last change is in them.
deb image: export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)

.PHONY: deb
deb: build ## Make the Debian package, in build/deb
	@tests/tools/install-packages.sh $(DEB_PACKAGES)
	rm -rf build/deb
	cpack --config build/release/CPackConfig.cmake -B build/deb
	rm -rf build/deb/_CPack_Packages

.PHONY: image
image: deb ## Make the container image without a daemon, in build/image
	@tests/tools/install-packages.sh $(IMAGE_PACKAGES)
	deploy/image/build.sh build/deb/waitd_*.deb build/image

.PHONY: test-packages
test-packages: image ## Install the Debian package and enter the image, in roots of their own
	@tests/tools/install-packages.sh $(TEST_PACKAGES) lintian
	cmake --preset release -DBUILD_TESTING=ON >/dev/null
	ctest --preset release -C Packages -R '^deploy_(deb|image)$$'

.PHONY: soak
soak: deps-test configure-release ## Walk the core beside its model for WALK_STEPS (100000000) steps
	cmake --build --preset release -j $(JOBS) --target core_test
	WAITD_WALK_STEPS=$(or $(WALK_STEPS),100000000) $(if $(WAITD_SEED),WAITD_SEED=$(WAITD_SEED)) \
	  build/release/tests/unit/core/core_test --gtest_filter='Walk.*'

.PHONY: tsan
tsan: deps-test ## Run the tests of the core, sessions and the client's engine under ThreadSanitizer
	cmake --preset tsan >/dev/null
	cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan

.PHONY: asan
asan: deps-test ## Run the tests, and waitd and waitctl in them, under AddressSanitizer
	cmake --preset asan >/dev/null
	cmake --build --preset asan -j $(JOBS)
	ctest --preset asan

.PHONY: fuzz
fuzz: deps-test ## Fuzz each parser for FUZZ_SECONDS (60)
	cmake --preset fuzz >/dev/null
	cmake --build --preset fuzz -j $(JOBS) --target waitd_fuzzers
	tests/fuzz/run.sh build/fuzz $(or $(FUZZ_SECONDS),60)

.PHONY: crash
crash: deps-test configure-release ## Kill waitd CRASH_KILLS (200) times, and cut its power as often
	cmake --build --preset release -j $(JOBS) --target waitd fault_shim
	WAITD_BIN_DIR=build/release/bin tests/crash/crash.py --kills $(or $(CRASH_KILLS),200) \
	  $(if $(WAITD_SEED),--seed $(WAITD_SEED))
	WAITD_BIN_DIR=build/release/bin tests/crash/crash.py --power-cuts $(or $(CRASH_KILLS),200) \
	  $(if $(WAITD_SEED),--seed $(WAITD_SEED))

.PHONY: mutants
mutants: deps-test ## Plant bugs in the core and see the tests fail
	tests/mutants/mutants.py

.PHONY: abuse
abuse: deps-test configure-release ## Attack waitd while a good client is at work; table in build/abuse
	cmake --build --preset release -j $(JOBS) --target waitd
	WAITD_BIN_DIR=build/release/bin tests/abuse/abuse.py build/abuse

BENCH_PROGRAMS := waitd bench_load echo_peer batch_peer rocks_scan core_bench

.PHONY: bench
bench: deps-test configure-release ## Measure waitd beside its peers; table and plots in build/bench
	cmake --build --preset release -j $(JOBS) --target $(BENCH_PROGRAMS)
	tests/bench/bench.py build/release/bin build/bench
	tests/bench/core_bench.py build/release/bin/core_bench

.PHONY: bench-quick
bench-quick: deps-test configure-release ## The same in two minutes: a single round, without the core alone
	cmake --build --preset release -j $(JOBS) --target $(BENCH_PROGRAMS)
	tests/bench/bench.py build/release/bin build/bench quick

.PHONY: picture
picture: deps-test build ## Draw deploy/grafana/waitd.svg anew
	WAITD_BIN_DIR=build/release/bin /usr/bin/python3 -B tests/deploy/dashboard_picture.py

.PHONY: clean
clean: ## Remove what was built
	rm -rf build node_modules
