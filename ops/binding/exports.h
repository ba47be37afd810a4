// What a library shows to ddf_seg/ops beside its operators.
#pragma once

#define DDF_STRING_(name) #name
#define DDF_STRING(name) DDF_STRING_(name)
#if defined(_WIN32)
#define DDF_EXPORT extern "C" __declspec(dllexport)
#else
#define DDF_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// The sources that it is compiled from (ddf_seg/ops/sources.py), which setup.py names.
#if !defined(DDF_SOURCES)
#define DDF_SOURCES unknown
#endif
DDF_EXPORT const char* ddf_seg_sources() { return "ddf_seg sources " DDF_STRING(DDF_SOURCES); }
