# Thin targets: what each one does lives in scripts/, and can be called from there directly.
# Variables given to make (BACKEND=poll, C2S_PORT=6222, ...) reach the scripts through the environment.
.PHONY: help setup build install uninstall run test bench soak book package test-package install-rock clean
.DEFAULT_GOAL := help

help:           ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 22

setup:          ## install what building, running and testing need (Debian; as root or through sudo); scripts/setup running: no tests
	@scripts/setup

build:          ## release build; leaves the install tree in dist/; LUA=5.1, 5.2, 5.3 or jit for another Lua than 5.4
	@scripts/build

install:        ## install dist/ below PREFIX, by default /usr/local; safe while a Prosody serves from there
	@scripts/install

uninstall:      ## remove what `make install` has put below PREFIX
	@scripts/uninstall

run:            ## Prosody on loopback with two accounts; BACKEND=epoll|poll|select|libevent, PROSODY_VERSION=13.0, PROSODY_CONFIG=file
	@scripts/setup running
	@scripts/build
	@scripts/run

test:           ## set-up, build and every test
	@scripts/test

bench:          ## the benchmarks, against the stock backends
	@scripts/setup running
	@benches/setup
	@scripts/build
	@benches/run

soak:           ## strangers against a real Prosody, for SOAK_MINUTES (20); fails if anything grows or an honest client waits
	@scripts/setup running
	@scripts/build
	@benches/soak/run

book:           ## the documentation as a book in target/book, every link of it looked up; needs mdBook
	@scripts/book

package:        ## a Debian package, a tarball and SBOMs in target/package
	@scripts/package

test-package:   ## install, use, upgrade and purge the package in a fresh root (as root; two minutes the first time)
	@scripts/test-package

# For packaging/trochee-dev-1.rockspec, which gives the two folders.
install-rock:
	@test -n "$(LUADIR)" -a -n "$(LIBDIR)"
	@mkdir -p "$(LUADIR)" "$(LIBDIR)"
	@cp -R dist/lua/. "$(LUADIR)/"
	@mv "$(LUADIR)/trochee.so" "$(LIBDIR)/"

clean:          ## remove build products and the demo's data; packages and .venv stay
	rm -rf dist
	cargo clean
