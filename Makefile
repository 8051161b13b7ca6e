# SPDX-License-Identifier: MIT
# The front door. meson and ninja do the work; scripts/ holds what is longer than a line.
#
#   make          build/vio
#   make demo     boot a Linux guest on a disk that vio serves, and say what happened
#   make check    every test, in every configuration
#   make bench    the performance figures, beside those of other programs
#   make fuzz     fuzz for FUZZ_SECONDS a target (60)
#   make install  PREFIX (/usr/local), DESTDIR
#   make clean    remove what was built; "make distclean" also the downloaded guest kernel and libraries of other machines
BUILD ?= build
PREFIX ?= /usr/local

all: $(BUILD)/build.ninja
	ninja -C $(BUILD) vio src/libvio.a

$(BUILD)/build.ninja:
	@scripts/install-deps.sh --only-check build
	meson setup --prefix=$(PREFIX) $(BUILD)

demo:
	@scripts/demo.sh

check:
	@scripts/check.sh

bench:
	@scripts/bench.sh

fuzz:
	@scripts/fuzz.sh

install: all
	meson configure $(BUILD) --prefix=$(abspath $(PREFIX))
	meson install -C $(BUILD)

clean:
	@if [ -d $(BUILD) ]; then find $(BUILD) -mindepth 1 -maxdepth 1 ! -name guest ! -name cross -exec rm -rf {} +; fi

distclean:
	rm -rf $(BUILD)

.PHONY: all demo check bench fuzz install clean distclean
