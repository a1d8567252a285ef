// LEVIT_WATCHED: this is built with AddressSanitizer. (GCC and Clang say so in different ways.)
//
// It finds a wrong address only where it knows what each address is for. So in such a build memory is handed out at its exact
// size and not kept from call to call (runtime/), and the last few elements of a row are loaded and stored one by one
// (simd/vec.h), since what the masked instructions touch is not looked at.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define LEVIT_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEVIT_WATCHED 1
#endif
#endif
#if !defined(LEVIT_WATCHED)
#define LEVIT_WATCHED 0
#endif
